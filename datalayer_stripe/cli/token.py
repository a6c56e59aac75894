"""The command `token`: print a bearer token for tests without a sign-in service."""

import json
import sys
from datetime import timedelta

import click
from pydantic import ValidationError

from ..auth import issue_token
from ..errors import SettingsError
from ..models import Identity
from ..settings import Settings, variable
from .common import fail
from .output.terminal import print_line, print_paragraph

# The key of localStorage under which the checkout page and Datalayer's UI store the token.
TOKEN_KEY = "@datalayer/iam:token"  # noqa: S105 (the name of an entry, not a secret)

_LIVE_KEY_ERROR = (
    f"{variable('stripe_api_key')} is a live key: tokens for real accounts come from the service "
    "that signs them, not from this command. Use it with the keys of Stripe's test mode."
)

_HINT = (
    "The token is valid for {hours} h. To use it in a browser, open the checkout page or the "
    "operator's page, open the developer tools (F12), and enter this line in the console. Then "
    "reload the page:"
)


def token(
    account: str, hours: int, handle: str | None, email: str | None, roles: tuple[str, ...]
) -> None:
    """Print a bearer token for ACCOUNT, to try the service in Stripe's test mode."""
    try:
        settings = Settings.from_environment()
        Identity(account_uid=account)
    except SettingsError as error:
        fail(str(error))
    except ValidationError:
        fail(
            "ACCOUNT: use 1 to 128 printable ASCII characters without spaces, and not only full "
            "stops, such as alice."
        )
    if settings.livemode:
        fail(_LIVE_KEY_ERROR)
    lifetime = timedelta(hours=hours)
    click.echo(
        issue_token(settings, account, lifetime=lifetime, handle=handle, email=email, roles=roles)
    )
    if sys.stdout.isatty():
        print_line(err=True)
        print_paragraph(_HINT.format(hours=hours), err=True)
        print_line(err=True)
        print_line(f'  localStorage.setItem({json.dumps(TOKEN_KEY)}, "<the token>")', err=True)
