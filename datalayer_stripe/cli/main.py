"""The command `datalayer-stripe`."""

import errno
import os
import sys
from contextlib import suppress
from typing import Any

import click

from .._version import __version__
from .commands.accounts import accounts
from .commands.completion import completion
from .commands.customers import customers
from .commands.demo import demo
from .commands.doctor import doctor
from .commands.events import events
from .commands.operations import audit, reconcile
from .commands.plugins import plugins
from .commands.report import report
from .commands.serve import serve
from .commands.setup import setup
from .commands.token import token
from .commands.webhook import webhook

_FAILURE_EXIT_CODE = 2  # that of .common, whose import takes a second

# What a write to a disk fails with. Click itself ends quietly if a pipe is closed.
_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


class _CommandLine(click.Group):
    """Group of all commands. It reports in one line that the output cannot be written to a disk."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the command that the command line names, and exit."""
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            if error.errno not in _DISK_ERRORS:
                raise
            _close_output()
            with suppress(OSError):  # stderr may be on the same disk
                click.echo(f"The output cannot be written: {error.strerror}.", err=True)
            sys.exit(_FAILURE_EXIT_CODE)


def _close_output() -> None:
    """Flush stdout if possible, and discard the rest: Python would fail to write it at its exit."""
    with suppress(OSError):
        sys.stdout.flush()
    with suppress(OSError):  # in tests stdout is not a file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(
    cls=_CommandLine,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
    epilog="New here? Try `datalayer-stripe demo`: no Stripe account, no database needed.",
)
@click.version_option(__version__, prog_name="datalayer-stripe")
def main() -> None:
    """Sell prepaid credits on Stripe.

    An account with an active monthly subscription buys a package of credits. Stripe charges the
    card and sends a signed webhook. The service then adds the credits, exactly once.
    """


for command in (
    serve,
    demo,
    setup,
    doctor,
    plugins,
    report,
    accounts,
    events,
    reconcile,
    audit,
    customers,
    webhook,
    token,
    completion,
):
    main.add_command(command)
