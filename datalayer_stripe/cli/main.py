"""The command `datalayer-stripe`, and its subcommands `serve` and `demo`."""

import sys
from contextlib import ExitStack
from pathlib import Path

import click

from .._version import __version__
from ..app import DEFAULT_HOST, listen
from ..configuration import Configuration
from ..errors import StartError
from ..logs import configure_logging
from ..settings import variable
from ..store.connect import MEMORY_URL
from .common import fail, load_configuration, run
from .customers import customers
from .doctor import doctor
from .event_loop import fastest_loop_factory
from .events import events
from .operations import audit, reconcile
from .plugins import plugins
from .serving import listen_for_operations, log_address, serve_until_signalled
from .setup import setup
from .shared_port import SharedPort
from .supervisor import Supervisor
from .token import token
from .webhook import webhook

DEFAULT_PORT = 9700
DEFAULT_SANDBOX_PORT = 9701

_PORT = click.IntRange(0, 65535)
_LOG_LEVEL = click.Choice(["debug", "info", "warning", "error"], case_sensitive=False)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    epilog="New here? Try `datalayer-stripe demo`: no Stripe account, no database needed.",
)
@click.version_option(__version__, prog_name="datalayer-stripe")
def main() -> None:
    """Sell prepaid credits on Stripe.

    An account with an active monthly subscription buys a package of credits. Stripe charges the
    card and sends a signed webhook. The service then adds the credits, exactly once.
    """


@main.command()
@click.option("--host", default=DEFAULT_HOST, help="Address to listen on; 0.0.0.0 for all.")
@click.option(
    "--port", type=_PORT, default=DEFAULT_PORT, help="Port to listen on; 0 for any free port."
)
@click.option(
    "--processes",
    type=click.IntRange(1),
    default=1,
    help="Number of processes that serve the port; at most one for each core.",
)
@click.option("--log-level", type=_LOG_LEVEL, default="info", help="Log level.")
@click.option(
    "--log-config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Logging configuration in TOML, such as conf/logging.toml.",
)
def serve(host: str, port: int, processes: int, log_level: str, log_config: Path | None) -> None:
    """Run the service with your Stripe account.

    The settings are environment variables, described in the file conf/datalayer-stripe.env.example.
    Logs are written to stderr, as text on a terminal and as JSON lines otherwise. SIGTERM stops the
    service after the running requests. With --processes, a supervisor replaces processes that die.
    """
    try:
        configure_logging(level=log_level.upper(), config_file=log_config)
    except (OSError, ValueError) as error:
        fail(
            f"--log-config {log_config}: {_first_line(error)}. "
            "Use TOML for Python's logging.config.dictConfig, as in conf/logging.toml."
        )
    configuration = load_configuration()
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


@main.command(short_help="Try the service without a Stripe account or a database.")
@click.option(
    "--port",
    type=_PORT,
    metavar="PORT",
    help=f"Port of the service. Default: {DEFAULT_PORT}; with --play, any free port.",
)
@click.option(
    "--sandbox-port",
    type=_PORT,
    metavar="PORT",
    help=f"Port of the local Stripe. Default: {DEFAULT_SANDBOX_PORT} if it is free, else any free "
    "port; with --play, any free port.",
)
@click.option("--open", "opening", is_flag=True, help="Open the checkout page in a browser.")
@click.option("--play", is_flag=True, help="Run the demo's steps, check each one, and exit.")
@click.option("--log-level", type=_LOG_LEVEL, default="warning", help="Log level.")
def demo(
    port: int | None, sandbox_port: int | None, opening: bool, play: bool, log_level: str
) -> None:
    """Try the service without a Stripe account, a database or settings.

    Runs the service and a local Stripe on 127.0.0.1. Prints the addresses of the checkout page and
    of the local Stripe's pages, and shell commands that buy credits. All data is in memory, and IS
    DELETED when the demo stops. --play runs all steps of the demo itself; exit code 1 means that a
    step failed.
    """
    from ..demo import run_demo  # noqa: PLC0415 (`serve` needs none of it)

    passed = run(
        run_demo(
            port=_or_default(port, 0 if play else DEFAULT_PORT),
            sandbox_port=_or_default(sandbox_port, 0 if play else DEFAULT_SANDBOX_PORT),
            any_sandbox_port=sandbox_port is None,
            play_story=play,
            open_page=opening,
            log_level=log_level.upper(),
        )
    )
    sys.exit(0 if passed else 1)


def _or_default(port: int | None, default: int) -> int:
    return default if port is None else port


for command in (setup, doctor, plugins, events, reconcile, audit, customers, webhook, token):
    main.add_command(command)
