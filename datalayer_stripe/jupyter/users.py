"""Map users of a Jupyter Server to accounts."""

from jupyter_server.auth.identity import IdentityProvider, PasswordIdentityProvider, User
from pydantic import ValidationError

from ..auth import display_text
from ..errors import Forbidden
from ..models import Identity
from ..settings import Settings


def has_stable_usernames(provider: IdentityProvider) -> bool:
    """Return whether a person keeps the same username.

    Jupyter's own providers check only a token or a password, and generate a username for each
    browser. Credits bought under it are lost as soon as the browser deletes its cookie.

    Args:
        provider: The identity provider of the server.
    """
    return type(provider) not in (IdentityProvider, PasswordIdentityProvider)


def usernames_may_match_tokens(settings: Settings) -> bool:
    """Return whether a username and the subject of a Datalayer token may name the same account.

    Args:
        settings: The settings of the extension.
    """
    return settings.jwt_secret is not None and not settings.stripe_jupyter_username_prefix


def identity_of(
    user: User, provider: IdentityProvider, *, livemode: bool, prefix: str = ""
) -> Identity:
    """Return the account of a user.

    Args:
        user: The user of the server.
        provider: The identity provider that has authenticated the user.
        livemode: Whether the Stripe keys move real money.
        prefix: The text before the username in the account's uid.

    Returns:
        The account, whose uid is `prefix` and the username.

    Raises:
        Forbidden: If Jupyter generated the username and the Stripe keys are live, or if the
            result is not a valid uid.
    """
    if livemode and not has_stable_usernames(provider):
        raise Forbidden(
            "This server generates a new user name for each browser, so credits could get lost. "
            "Ask its operator to set ServerApp.identity_provider_class, as docs/jupyter.md says."
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
            "Your user name on this server cannot be used for an account. It must have 1 to 128 "
            "letters, digits and punctuation marks of ASCII, without spaces."
        ) from None
