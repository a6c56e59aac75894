"""The command `token`."""

import click

from .lazy import runs


@click.command(short_help="Print a bearer token for Stripe's test mode.")
@click.argument("account")
@click.option(
    "--hours", type=click.IntRange(1, 720), default=12, help="How long the token is valid."
)
@click.option("--handle", help="The user name that the checkout page shows.")
@click.option("--email", help="The e-mail address that Stripe sends receipts to.")
@click.option("--role", "roles", multiple=True, help="A role, such as platform_admin. Repeatable.")
@runs("token:token")
def token() -> None:
    """Print a bearer token for ACCOUNT, to try the service in Stripe's test mode.

    The token is signed with DATALAYER_JWT_SECRET, as the tokens of your service are. It is the only
    output on stdout: TOKEN=$(datalayer-stripe token alice). The command refuses to run with a live
    key.
    """
