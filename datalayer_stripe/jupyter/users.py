"""Jupyter's users as owners of accounts."""

from jupyter_server.auth.identity import IdentityProvider, PasswordIdentityProvider, User
from pydantic import ValidationError

from ..auth import display_text
from ..errors import Forbidden
from ..models import Identity
from ..settings import Settings


def names_people(provider: IdentityProvider) -> bool:
    """Whether a person keeps a name.

    Jupyter's own providers know a token or a password, and make a name up for each browser: what
    is bought under it is out of reach when the browser has forgotten its cookie.
    """
    return type(provider) not in (IdentityProvider, PasswordIdentityProvider)


def shares_names(settings: Settings) -> bool:
    """Return whether a username and the subject of a Datalayer token may be the same account."""
    return settings.jwt_secret is not None and not settings.stripe_jupyter_username_prefix


def identity_of(
    user: User, provider: IdentityProvider, *, livemode: bool, prefix: str = ""
) -> Identity:
    """Return the account of a user, whose uid is the username after `prefix`.

    Raises:
        Forbidden: if Jupyter made the username up and the Stripe keys are live, or if no account
            can have this uid.
    """
    if livemode and not names_people(provider):
        raise Forbidden(
            "This server makes a name up for each browser, under which no money may be spent. "
            "Its operator chooses another ServerApp.identity_provider_class: docs/jupyter.md."
        )
    try:
        return Identity(
            account_uid=prefix + user.username,
            handle=display_text(user.username),
            name=display_text(user.display_name),
            first_name=display_text(user.display_name),
        )
    except ValidationError:
        raise Forbidden(
            "Your user name on this server cannot be an account's: that is 1 to 128 letters, "
            "digits and signs of ASCII, without blanks."
        ) from None
