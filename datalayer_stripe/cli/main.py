"""The command line: `datalayer-stripe`."""

import logging
import sys
from pathlib import Path

import click

from .._version import __version__
from ..app import Server, make_app, shutdown_signal
from ..configuration import Configuration
from ..logs import configure_logging
from ..reconciliation.periodic import reconciling
from ..service import open_service
from .authors import check, new
from .common import configuration, fail, run
from .events import events
from .operations import audit, reconcile
from .plugins import plugins
from .token import token

logger = logging.getLogger(__name__)

DEFAULT_PORT = 9700
DEFAULT_SANDBOX_PORT = 9701

# Kubernetes kills 30 s after SIGTERM; what runs has this long to finish.
SHUTDOWN_SECONDS = 20

_PORT = click.IntRange(0, 65535)
_LEVELS = click.Choice(["debug", "info", "warning", "error"], case_sensitive=False)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    epilog="New here? Try `datalayer-stripe demo`: no Stripe account, no database needed.",
)
@click.version_option(__version__, prog_name="datalayer-stripe")
def main() -> None:
    """Sell prepaid credits on Stripe.

    An account with an active monthly subscription buys a package of credits, Stripe takes the
    money, and a signed webhook adds the credits, exactly once.
    """


@main.command()
@click.option("--host", default="127.0.0.1", help="Address to listen on; 0.0.0.0 for all.")
@click.option(
    "--port", type=_PORT, default=DEFAULT_PORT, help="Port to listen on; 0 for any free one."
)
@click.option("--log-level", type=_LEVELS, default="info", help="How much to log.")
@click.option(
    "--log-config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A logging configuration in TOML, like conf/logging.toml.",
)
def serve(host: str, port: int, log_level: str, log_config: Path | None) -> None:
    """Run the service, in front of a real Stripe account.

    The settings come from the environment: conf/datalayer-stripe.env.example explains each
    variable. Logs go to stderr, as JSON lines unless that is a terminal. SIGTERM ends it cleanly.
    """
    try:
        configure_logging(level=log_level.upper(), config_file=log_config)
    except (OSError, ValueError) as error:
        fail(
            f"--log-config {log_config}: {_first_line(error)}. "
            "It has to be TOML for Python's logging.config.dictConfig, as conf/logging.toml is."
        )
    run(_serve(configuration(), host, port))


def _first_line(error: Exception) -> str:
    """Return what is wrong in one line, with the cause that dictConfig puts below its own."""
    known = error.__cause__ or error
    return (str(known) or type(known).__name__).splitlines()[0].rstrip(".")


async def _serve(configured: Configuration, host: str, port: int) -> None:
    settings = configured.settings
    service = await open_service(
        settings, registry=configured.registry, plugin_settings=configured.plugin_settings
    )
    try:
        await service.start()
        server = Server(make_app(service), address=host, port=port)
        # Who reads that it listens may end it from then on.
        with shutdown_signal() as signalled:
            logger.info(
                "listening",
                extra={
                    "url": f"http://{host}:{server.port}",
                    "mode": "live" if settings.livemode else "test",
                    "plugins": [plugin.name for plugin in service.registry.plugins],
                },
            )
            async with reconciling(service):
                await signalled.wait()
                logger.info("shutting down")
                await server.stop(seconds=SHUTDOWN_SECONDS)
    finally:
        await service.close()


@main.command(short_help="Try the service: no Stripe account, no database.")
@click.option(
    "--port",
    type=_PORT,
    metavar="PORT",
    help=f"Port of the service: {DEFAULT_PORT}, or any free one with --play.",
)
@click.option(
    "--sandbox-port",
    type=_PORT,
    metavar="PORT",
    help=f"Port of the local Stripe: {DEFAULT_SANDBOX_PORT}, or any free one if that is taken, or "
    "with --play.",
)
@click.option("--open", "opening", is_flag=True, help="Open the checkout page in a browser.")
@click.option("--play", is_flag=True, help="Play the story, check each step, and end.")
@click.option("--log-level", type=_LEVELS, default="warning", help="How much to log.")
def demo(
    port: int | None, sandbox_port: int | None, opening: bool, play: bool, log_level: str
) -> None:
    """Try the service: no Stripe account, no database, no configuration.

    Runs the service and a local Stripe on 127.0.0.1, and prints the address of the checkout page,
    that of Stripe's side, and lines for a shell that do the same. It keeps everything in memory
    and FORGETS it at the end. With --play it goes through the whole story by itself; the exit code
    is 1 if a step is not as promised.
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


for command in (new, check):
    plugins.add_command(command)
for command in (plugins, events, reconcile, audit, token):
    main.add_command(command)
