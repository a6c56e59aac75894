"""Run the demo: the command `demo`."""

import sys

from ..demo import run_demo
from .commands.options import DEFAULT_PORT, DEFAULT_SANDBOX_PORT
from .common import run
from .output.terminal import print_line


def demo(
    host: str, port: int | None, sandbox_port: int | None, opening: bool, play: bool, log_level: str
) -> None:
    """Try the service without a Stripe account, a database or settings."""
    passed = run(
        run_demo(
            host=host,
            port=_or_default(port, 0 if play else DEFAULT_PORT),
            sandbox_port=_or_default(sandbox_port, 0 if play else DEFAULT_SANDBOX_PORT),
            any_sandbox_port=sandbox_port is None,
            play_story=play,
            open_page=opening,
            log_level=log_level.upper(),
            echo=print_line,
        )
    )
    sys.exit(0 if passed else 1)


def _or_default(port: int | None, default: int) -> int:
    return default if port is None else port
