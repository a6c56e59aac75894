"""Run several processes of the service on one port: start, watch, replace and end them.

The supervisor has no event loop and no client of the database. It starts each process as a new
interpreter (:mod:`.serve_process`), and waits for reports, for the ends of processes and for
signals.
"""

import logging
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import StartError
from ..metrics.files import forget_dead_process
from .serve_process import STOP_TIMEOUT, ProcessArguments, Report
from .shared_port import SharedPort
from .supervised_process import SupervisedProcess

logger = logging.getLogger(__name__)

_MODULE = "datalayer_stripe.cli.serve_process"
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_MAX_DATAGRAM_BYTES = 65_536


class _EndAtOnce(BaseException):
    """A second signal has arrived."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Supervisor:
    """Supervisor of the processes of `serve --processes`.

    Args:
        port: The port of all processes.
        operations_port: The port of the operators' own address, if there is one.
        processes: The number of processes.
        log_level: The level of their logs.
        log_config: The file of their logging configuration, or None.
        on_listening: Called once, when one process listens, and each other one also does or has
            failed to start.
    """

    def __init__(
        self,
        port: SharedPort,
        operations_port: SharedPort | None,
        processes: int,
        *,
        log_level: str,
        log_config: Path | None,
        on_listening: Callable[[], None],
    ) -> None:
        self._port = port
        self._operations_port = operations_port
        self._processes = {number: SupervisedProcess(number) for number in range(1, processes + 1)}
        self._log_level = log_level
        self._log_config = str(log_config or "")
        self._on_listening: Callable[[], None] | None = on_listening
        self._metrics_folder = Path()
        self._reports, self._report_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._reports.setblocking(False)
        # Nothing is written to it. The processes see its end when this process ends in any way.
        self._lifeline, self._lifeline_end = os.pipe()
        self._stopping_since: float | None = None
        self._exit_code = 0

    def run(self) -> int:
        """Run the processes until a signal, and return the exit code.

        A second signal ends this process and all others at once.

        Raises:
            StartError: All processes have failed to start, or there is no folder for the metrics.
        """
        with ExitStack() as closing:
            try:
                folder = closing.enter_context(TemporaryDirectory(prefix="datalayer-stripe-"))
            except OSError as error:
                raise StartError(
                    f"--processes needs a folder for temporary files: {error.strerror}. Set TMPDIR "
                    "to a folder that the service may write to."
                ) from error
            self._metrics_folder = Path(folder)
            closing.callback(self._kill_all)
            try:
                with _signals() as signals:
                    while not self._has_ended():
                        self._start_due()
                        ready, _, _ = select.select(
                            [signals, self._reports], [], [], self._seconds_to_wait()
                        )
                        if signals in ready:
                            self._read_signals(signals)
                        self._read_reports_and_ends()
                        self._kill_late()
            except _EndAtOnce as second:
                closing.close()
                signal.signal(second.number, signal.SIG_DFL)
                signal.raise_signal(second.number)
        return self._exit_code

    def _has_ended(self) -> bool:
        processes = self._processes.values()
        if self._stopping_since is not None:
            return all(one.popen is None for one in processes)
        if all(one.failed_at_start and not one.is_starting for one in processes):
            self._kill_all()
            messages = [one.error for one in processes if one.error]
            if messages:
                raise StartError(messages[-1])
            self._exit_code = 1  # the processes have printed tracebacks
            return True
        return False

    def _start_due(self) -> None:
        if self._stopping_since is not None:
            return
        now = time.monotonic()
        # Whether the command goes on is decided when each first start has succeeded or failed.
        may_retry = not any(one.is_starting for one in self._processes.values())
        for process in self._processes.values():
            is_due = process.popen is None and process.start_at <= now
            if is_due and (may_retry or not process.failed_at_start):
                if process.failed_at_start:
                    logger.error(
                        "process did not start and is started again",
                        extra={"process_number": process.number, "error": process.error},
                    )
                self._start(process)

    def _start(self, process: SupervisedProcess) -> None:
        # Cleaners of temporary folders delete folders of long-running services.
        self._metrics_folder.mkdir(mode=0o700, exist_ok=True)
        with ExitStack() as inherited:
            sockets = inherited.enter_context(self._port.sockets_of_process())
            operations: list[socket.socket] = []
            if self._operations_port is not None:
                operations = inherited.enter_context(self._operations_port.sockets_of_process())
            arguments = ProcessArguments(
                number=process.number,
                log_level=self._log_level,
                log_config=self._log_config,
                metrics_folder=str(self._metrics_folder),
                socket_fds=[one.fileno() for one in sockets],
                operations_fds=[one.fileno() for one in operations],
                report_fd=self._report_end.fileno(),
                lifeline_fd=self._lifeline,
            )
            # -P: modules in the present folder are not imported.
            command = [sys.executable, "-P", "-m", _MODULE, arguments.to_json()]
            try:
                process.popen = subprocess.Popen(  # noqa: S603 (our own command)
                    command,
                    stdin=subprocess.DEVNULL,
                    pass_fds=arguments.inherited_fds,
                    # Ctrl-C in a terminal signals only the supervisor, which passes it on once.
                    process_group=0,
                )
            except OSError as error:  # the machine has no memory or no process left
                process.error = f"Cannot start a process: {error.strerror}."
                process.schedule_start()

    def _seconds_to_wait(self) -> float | None:
        """Return the seconds until something is due that no signal or report announces."""
        if self._stopping_since is not None:
            due = [self._stopping_since + STOP_TIMEOUT]
        else:
            waiting = [one for one in self._processes.values() if one.popen is None]
            if any(one.is_starting for one in self._processes.values()):
                waiting = [one for one in waiting if not one.failed_at_start]
            due = [one.start_at for one in waiting]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _read_signals(self, signals: socket.socket) -> None:
        for number in signals.recv(_MAX_DATAGRAM_BYTES):
            if number not in _STOP_SIGNALS:
                continue  # SIGCHLD: a process has ended
            if self._stopping_since is not None:
                raise _EndAtOnce(number)
            self._stopping_since = time.monotonic()
            for process in self._processes.values():
                if process.popen is not None:
                    process.popen.terminate()

    def _read_reports_and_ends(self) -> None:
        # A process has sent its report before it ends, so the ends are looked for first.
        ended = [
            one for one in self._processes.values() if one.popen and one.popen.poll() is not None
        ]
        for report in self._received_reports():
            self._note_report(self._processes[report.number], report)
        for process in ended:
            self._note_end(process)
        self._announce()

    def _note_report(self, process: SupervisedProcess, report: Report) -> None:
        process.error = report.error
        if report.error is None and process.popen is not None:
            process.listening_since = time.monotonic()
            process.failed_at_start = False
            extra = {"process_number": process.number, "pid": process.popen.pid}
            logger.info("process listens", extra=extra)

    def _received_reports(self) -> Iterator[Report]:
        while True:
            try:
                yield Report.parse(self._reports.recv(_MAX_DATAGRAM_BYTES))
            except BlockingIOError:
                return

    def _announce(self) -> None:
        processes = self._processes.values()
        is_decided = not any(one.is_starting for one in processes)
        if self._on_listening and is_decided and any(one.listening_since for one in processes):
            self._on_listening()
            self._on_listening = None

    def _note_end(self, process: SupervisedProcess) -> None:
        assert process.popen is not None  # noqa: S101 (it has ended)
        pid, code = process.popen.pid, process.popen.returncode
        process.popen = None
        forget_dead_process(self._metrics_folder, process.number)
        if self._stopping_since is not None:
            # A process that was still starting is ended by the signal itself.
            if code not in (0, -signal.SIGTERM):
                self._exit_code = 1
            return
        backoff = process.schedule_start()
        if not process.failed_at_start:
            logger.error(
                "process ended and is replaced",
                extra={
                    "process_number": process.number,
                    "pid": pid,
                    "exit_code": code,
                    "error": process.error,
                    "seconds": backoff,
                },
            )

    def _kill_late(self) -> None:
        if self._stopping_since is None or time.monotonic() < self._stopping_since + STOP_TIMEOUT:
            return
        for process in self._processes.values():
            if process.popen is not None:
                logger.warning("process is killed", extra={"process_number": process.number})
        self._kill_all()

    def _kill_all(self) -> None:
        for process in self._processes.values():
            if process.popen is not None:
                process.popen.kill()
                process.popen.wait()


@contextmanager
def _signals() -> Iterator[socket.socket]:
    """Receive signals as bytes of a socket: SIGTERM, SIGINT, and SIGCHLD when a process ends."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    numbers = (*_STOP_SIGNALS, signal.SIGCHLD)
    # With a handler, a signal does not end the process; the wake-up socket gets its number.
    handlers = {number: signal.signal(number, lambda *_: None) for number in numbers}
    wakeup_fd = signal.set_wakeup_fd(writer.fileno())
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(wakeup_fd)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        reader.close()
        writer.close()
