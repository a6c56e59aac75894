"""Jupyter's users as owners of accounts."""

from jupyter_server.auth.identity import IdentityProvider, PasswordIdentityProvider, User
from pydantic import ValidationError

from ..errors import Forbidden
from ..models import Identity

_LONGEST_TEXT = 120


def names_people(provider: IdentityProvider) -> bool:
    """Whether a person keeps a name.

    Jupyter's own providers know a token or a password, and make a name up for each browser: what
    is bought under it is out of reach when the browser has forgotten its cookie.
    """
    return type(provider) not in (IdentityProvider, PasswordIdentityProvider)


def identity_of(user: User, provider: IdentityProvider, *, livemode: bool) -> Identity:
    """The account of a user: the one whose uid is the username.

    Raises Forbidden where the name is made up and the money is not, and for a name that no account
    can have.
    """
    if livemode and not names_people(provider):
        raise Forbidden(
            "This server makes a name up for each browser, under which no money may be spent. "
            "Its operator chooses another ServerApp.identity_provider_class: docs/jupyter.md."
        )
    try:
        return Identity(
            account_uid=user.username,
            handle=user.username[:_LONGEST_TEXT],
            name=user.display_name[:_LONGEST_TEXT],
        )
    except ValidationError:
        raise Forbidden(
            "Your user name on this server cannot be an account's: that is 1 to 128 letters, "
            "digits and signs of ASCII, without blanks."
        ) from None
