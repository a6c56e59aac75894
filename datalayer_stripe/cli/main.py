"""The command `datalayer-stripe`."""

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
