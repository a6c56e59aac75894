"""Run the service: the command `serve`."""

import sys
from contextlib import ExitStack
from pathlib import Path

from ..app import listen
from ..configuration import Configuration
from ..errors import StartError
from ..logs import configure_logging
from ..settings import Settings, variable
from ..store.connect import MEMORY_URL
from .common import fail, load_configuration, run
from .event_loop import fastest_loop_factory
from .serving import listen_for_operations, log_address, serve_until_signalled
from .shared_port import SharedPort
from .supervisor import Supervisor

_ALL_ADDRESSES = frozenset({"0.0.0.0", "::"})  # noqa: S104 (to recognize them)


def serve(host: str, port: int, processes: int, log_level: str, log_config: Path | None) -> None:
    """Run the service with your Stripe account."""
    try:
        configure_logging(level=log_level.upper(), config_file=log_config)
    except (OSError, ValueError) as error:
        fail(
            f"--log-config {log_config}: {_first_line(error)}. "
            "Use TOML for Python's logging.config.dictConfig, as in conf/logging.toml."
        )
    configuration = load_configuration()
    _refuse_shared_address(configuration.settings, host, port)
    if processes == 1:
        run(
            serve_until_signalled(
                configuration,
                lambda: listen(host, port),
                bind_operations=lambda: listen_for_operations(configuration.settings),
                on_listening=lambda server: log_address(
                    configuration, host, server.port, server.operations_port
                ),
            ),
            loop_factory=fastest_loop_factory(),
        )
        return
    try:
        exit_code = _supervise(
            configuration, host, port, processes, log_level=log_level, log_config=log_config
        )
    except StartError as error:
        fail(str(error))
    sys.exit(exit_code)


def _first_line(error: Exception) -> str:
    """Return the first line of the error's cause, if it has one, or of the error itself.

    The message of an error of dictConfig does not contain its cause.
    """
    cause = error.__cause__ or error
    return (str(cause) or type(cause).__name__).splitlines()[0].rstrip(".")


def _refuse_shared_address(settings: Settings, host: str, port: int) -> None:
    """Exit with code 2 if the operators' own address is that of the service itself."""
    if settings.operations_address is None or port == 0:
        return
    own_host, own_port = settings.operations_address
    if own_port == port and (own_host == host or _ALL_ADDRESSES & {own_host, host}):
        fail(
            f"{variable('stripe_metrics_address')} has the port of the service itself, {port}. Set "
            "another port in it, or choose another --port."
        )


def _supervise(
    configuration: Configuration,
    host: str,
    port: int,
    processes: int,
    *,
    log_level: str,
    log_config: Path | None,
) -> int:
    """Run several processes, and return the exit code.

    Raises:
        StartError: The processes cannot share the port or the database.
    """
    if configuration.settings.stripe_mongodb_url.get_secret_value().startswith(MEMORY_URL):
        raise StartError(
            f"{variable('stripe_mongodb_url')} is memory://, which other processes cannot read. "
            "Use --processes 1, or set it to a database."
        )
    address = configuration.settings.operations_address
    with ExitStack() as closing:
        shared_port = closing.enter_context(SharedPort(host, port))
        operations_port = None
        if address is not None:
            operations_port = closing.enter_context(
                SharedPort(*address, setting=variable("stripe_metrics_address"))
            )
        supervisor = Supervisor(
            shared_port,
            operations_port,
            processes,
            log_level=log_level,
            log_config=log_config,
            on_listening=lambda: log_address(
                configuration,
                host,
                shared_port.port,
                operations_port.port if operations_port else None,
                processes=processes,
            ),
        )
        return supervisor.run()
