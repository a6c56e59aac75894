"""One process of `serve --processes`, which a :class:`.Supervisor` starts.

It reports to its supervisor that it listens, or why it cannot start, and ends when its supervisor
has ended.
"""

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from ..configuration import read_configuration
from ..errors import DatalayerStripeError
from ..logs import bind_log_context, configure_logging
from ..metrics import Metrics
from ..metrics.files import keep_values_in_files
from .common import FAILURE_EXIT_CODE, explain
from .event_loop import fastest_loop_factory
from .serving import serve_until_signalled

# Like Tornado's own.
_BACKLOG = 128

# A datagram may have 2,048 bytes on macOS.
_MAX_ERROR_CHARS = 1_000

STOP_TIMEOUT = 28.0
"""Time after which a process that was asked to end is killed, in seconds."""


@dataclass(frozen=True)
class ProcessArguments:
    """What a process gets from its supervisor, on its command line.

    Attributes:
        number: The number of the process, from 1.
        log_level: The level of the log.
        log_config: The file of the logging configuration, or "".
        metrics_folder: The folder of the metrics of all processes.
        socket_fds: File descriptors of the sockets to listen on.
        operations_fds: Those of the operators' own address, if there is one.
        report_fd: File descriptor of the socket that takes the process's report.
        lifeline_fd: File descriptor of a pipe that the supervisor closes when it ends.
    """

    number: int
    log_level: str
    log_config: str
    metrics_folder: str
    socket_fds: list[int]
    operations_fds: list[int]
    report_fd: int
    lifeline_fd: int

    def to_json(self) -> str:
        """Return the arguments as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the arguments that :meth:`to_json` has written."""
        return cls(**json.loads(text))

    @property
    def inherited_fds(self) -> list[int]:
        """The file descriptors that the process inherits."""
        return [*self.socket_fds, *self.operations_fds, self.report_fd, self.lifeline_fd]


@dataclass(frozen=True)
class Report:
    """What a process reports to its supervisor.

    Attributes:
        number: The number of the process.
        error: Why it cannot start, or has failed. None if it listens.
    """

    number: int
    error: str | None = None

    def send(self, fd: int) -> None:
        """Send the report through a datagram socket."""
        with suppress(OSError):  # the supervisor has ended
            os.write(fd, json.dumps(asdict(self), ensure_ascii=False).encode())

    @classmethod
    def parse(cls, datagram: bytes) -> Self:
        """Return the report that :meth:`send` has sent."""
        return cls(**json.loads(datagram))


def main() -> None:
    """Serve until a signal, or until the supervisor has ended."""
    arguments = ProcessArguments.from_json(sys.argv[1])
    for fd in arguments.inherited_fds:
        os.set_inheritable(fd, False)  # not by processes that a plugin starts
    orphaned = threading.Event()
    thread_arguments = (arguments.lifeline_fd, orphaned)
    threading.Thread(target=_end_with_supervisor, args=thread_arguments, daemon=True).start()
    log_config = Path(arguments.log_config) if arguments.log_config else None
    configure_logging(level=arguments.log_level, config_file=log_config)
    bind_log_context(process_number=arguments.number)
    try:
        with asyncio.Runner(loop_factory=fastest_loop_factory()) as runner:
            runner.run(_serve(arguments))
    except DatalayerStripeError as error:
        Report(arguments.number, explain(error)[:_MAX_ERROR_CHARS]).send(arguments.report_fd)
        sys.exit(FAILURE_EXIT_CODE)
    finally:
        if orphaned.is_set():  # a supervisor that was killed leaves the folder
            shutil.rmtree(arguments.metrics_folder, ignore_errors=True)


async def _serve(arguments: ProcessArguments) -> None:
    configuration = read_configuration()
    folder = Path(arguments.metrics_folder)
    keep_values_in_files(folder, arguments.number)
    await serve_until_signalled(
        configuration,
        lambda: [_listen(fd) for fd in arguments.socket_fds],
        bind_operations=lambda: [_listen(fd) for fd in arguments.operations_fds],
        on_listening=lambda _: Report(arguments.number).send(arguments.report_fd),
        metrics=Metrics(folder=folder),
        examines=arguments.number == 1,
    )


def _listen(fd: int) -> socket.socket:
    listener = socket.socket(fileno=fd)
    listener.setblocking(False)
    listener.listen(_BACKLOG)
    return listener


def _end_with_supervisor(lifeline_fd: int, orphaned: threading.Event) -> None:
    """Wait until the supervisor has ended, and then end this process as a SIGTERM does.

    This runs in a thread, so that it works during the start and if the event loop hangs.
    """
    os.read(lifeline_fd, 1)
    orphaned.set()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(STOP_TIMEOUT)
    os._exit(1)


if __name__ == "__main__":
    main()
