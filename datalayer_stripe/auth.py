"""Read and issue bearer tokens: JWTs as Datalayer signs them (RFC 7519)."""

import math
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

import jwt
from pydantic import SecretStr, ValidationError

from .clock import MAX_EPOCH_SECONDS, Clock, from_epoch, system_clock
from .errors import Unauthorized
from .models import Identity
from .printable import replace_unprintable
from .settings import Settings

# Stripe refuses a customer whose e-mail address is not valid.
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")

# Stripe refuses names of more than 256 characters. A name has two parts.
_MAX_TEXT_CHARS = 120


class BearerTokens:
    """Verifier of `Authorization: Bearer` tokens.

    Args:
        secret: The secret that signs the tokens; None refuses all tokens.
        algorithm: The algorithm of the signature, such as `HS256`.
        issuers: The `iss` claims to accept.
        clock: Returns the present time.
    """

    def __init__(
        self,
        secret: SecretStr | None,
        algorithm: str,
        issuers: Collection[str],
        clock: Clock = system_clock,
    ) -> None:
        self._secret = secret
        self._algorithm = algorithm
        self._issuers = list(issuers)
        self._clock = clock

    def has_accepted_issuer(self, authorization: str | None) -> bool:
        """Return whether a header contains a token of an accepted issuer, valid or forged.

        In a Jupyter Server, this decides whether this class or Jupyter verifies the token. It
        does not verify the token.

        Args:
            authorization: The value of the Authorization header.
        """
        token = _bearer(authorization)
        if token is None or self._secret is None:
            return False
        try:
            claims = jwt.decode(token, options={"verify_signature": False})
        except jwt.PyJWTError:
            return False
        return claims.get("iss") in self._issuers

    def authenticate(self, authorization: str | None) -> Identity:
        """Verify the token of a request.

        Args:
            authorization: The value of the Authorization header.

        Returns:
            The account that the token names.

        Raises:
            Unauthorized: The token is missing or not valid. The message does not say why.
        """
        token = _bearer(authorization)
        if token is None or self._secret is None:
            raise Unauthorized
        try:
            claims = jwt.decode(
                token,
                self._secret.get_secret_value(),
                algorithms=[self._algorithm],
                issuer=self._issuers,
                options={
                    "require": ["exp", "iss", "sub"],
                    # Older tokens have an object as `sub`.
                    "verify_sub": False,
                    # The clock of the issuer may be a second ahead of ours.
                    "verify_iat": False,
                    # The contract requires only signature, issuer and expiry.
                    "verify_aud": False,
                    "verify_jti": False,
                    # _check_times() checks these with the clock of this class.
                    "verify_exp": False,
                    "verify_nbf": False,
                },
            )
            _check_times(claims, self._clock().timestamp())
            return _identity(claims)
        except (jwt.PyJWTError, ValidationError, ValueError, TypeError, OverflowError):
            raise Unauthorized from None


def issue_token(
    settings: Settings,
    account_uid: str,
    *,
    lifetime: timedelta,
    handle: str | None = None,
    email: str | None = None,
    roles: Sequence[str] = (),
    clock: Clock = system_clock,
) -> str:
    """Sign a bearer token that a service with these settings accepts.

    Args:
        settings: The settings, with the secret, the algorithm and the issuer.
        account_uid: The account that the token authenticates.
        lifetime: The time from now until the token expires.
        handle: The account's name for display.
        email: The e-mail address for Stripe's receipts.
        roles: The roles of the account, such as `platform_admin`.
        clock: Returns the present time.

    Returns:
        The token, for `Authorization: Bearer`.

    Raises:
        ValueError: The settings have no secret.
    """
    if settings.jwt_secret is None:
        raise ValueError("the settings have no secret to sign tokens with")
    issuers = settings.accepted_issuers
    now = clock()
    user = {"handle": handle, "email": email, "roles": list(roles) or None}
    claims = {
        "sub": account_uid,
        "iss": settings.jwt_issuer if settings.jwt_issuer in issuers else min(issuers),
        "iat": int(now.timestamp()),
        "exp": int((now + lifetime).timestamp()),
        "user": {name: value for name, value in user.items() if value is not None},
    }
    secret = settings.jwt_secret.get_secret_value()
    return jwt.encode(claims, secret, algorithm=settings.jwt_algorithm)


def display_text(value: Any) -> str | None:
    """Return a name for display and for Stripe. A name is never a reason to refuse a token.

    Args:
        value: A claim of a token, or a name of a Jupyter user.

    Returns:
        The text, shortened to 120 characters, or None if it is not a string or nothing is left.
        Line feeds and other control characters become spaces. Characters that nobody sees are left
        out: in a terminal or on a page they would change how the text around the name is shown. A
        lone surrogate, which JSON can hold and MongoDB cannot, becomes `?`.
    """
    if not isinstance(value, str):
        return None
    text = replace_unprintable(value, _space_or_nothing).strip()
    return text[:_MAX_TEXT_CHARS].encode(errors="replace").decode() or None


def _space_or_nothing(character: str) -> str:
    return "" if unicodedata.category(character) == "Cf" else " "


def _bearer(authorization: str | None) -> str | None:
    """Return the token of an Authorization header; None if there is no bearer token."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    """Check `nbf`, `iat` and `exp`: RFC 7519, sections 4.1.4 to 4.1.6.

    Args:
        claims: The claims of a token whose signature is verified.
        now: The present time in epoch seconds.

    Raises:
        ValueError: A time is not a number of epoch seconds, or the token is not valid now.
    """
    times = {name: _numeric_date(claims[name]) for name in ("nbf", "iat", "exp") if name in claims}
    if not times.get("nbf", 0) <= now < times["exp"]:
        raise ValueError("the token is not valid at this time")


def _numeric_date(value: Any) -> float:
    """Return a claim as epoch seconds.

    Raises:
        ValueError: It is not a finite number from 1970 to the year 9999.
    """
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # An `exp` in milliseconds is above the maximum. It would make the token valid for millennia.
    if not is_number or not math.isfinite(value) or not 0 <= value <= MAX_EPOCH_SECONDS:
        raise ValueError("not a time in epoch seconds")
    return float(value)


def _identity(claims: Mapping[str, Any]) -> Identity:
    subject, user = claims["sub"], claims.get("user")
    user = user if isinstance(user, Mapping) else {}
    first_name, last_name = display_text(user.get("firstName")), display_text(user.get("lastName"))
    return Identity.model_validate(
        {
            "account_uid": subject.get("uid") if isinstance(subject, Mapping) else subject,
            "handle": display_text(user.get("handle")),
            "email": _email(user.get("email")),
            "name": " ".join(name for name in (first_name, last_name) if name) or None,
            "first_name": first_name,
            "last_name": last_name,
            "expires_at": from_epoch(int(claims["exp"])),
            "roles": _roles(user.get("roles")),
        }
    )


def _email(value: Any) -> str | None:
    """Return an e-mail address, or None if it is not valid. It is never changed or shortened."""
    is_valid = isinstance(value, str) and _EMAIL.fullmatch(value) and display_text(value) == value
    return value if is_valid else None


def _roles(value: Any) -> tuple[str, ...]:
    """Return the roles of a claim. Anything but a list of strings gives no role."""
    if not isinstance(value, list) or not all(isinstance(role, str) for role in value):
        return ()
    return tuple(value)
