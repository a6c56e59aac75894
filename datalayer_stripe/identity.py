"""Who calls, by the bearer token: a JWT of Datalayer's, RFC 7519."""

import re
from collections.abc import Collection, Mapping
from typing import Any

import jwt
from pydantic import SecretStr, ValidationError

from .clock import Clock, from_epoch, system_clock
from .errors import Unauthorized
from .models import Identity

# Stripe refuses a customer whose e-mail address is none, and names of more than 256 characters.
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_LONGEST_TEXT = 120

# The year 9999, which is as late as a datetime goes: some tokens say "never" by a later one.
_LATEST = 253_402_300_799


class BearerTokens:
    """Reads `Authorization: Bearer` tokens signed with one secret and one algorithm.

    Without a secret it takes none for its own.
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

    def are_addressed(self, authorization: str | None) -> bool:
        """Whether it holds a token that names an issuer of ours, true or forged.

        Where others read the header, too, this says whose token it is; no more.
        """
        token = _bearer(authorization)
        if token is None or self._secret is None:
            return False
        try:
            claims = jwt.decode(token, options={"verify_signature": False})
        except jwt.PyJWTError:
            return False
        return claims.get("iss") in self._issuers

    def identity(self, authorization: str | None) -> Identity:
        """The caller. Raises Unauthorized, the same for every fault."""
        token = _bearer(authorization)
        if token is None or self._secret is None:
            raise Unauthorized
        try:
            claims = jwt.decode(
                token,
                self._secret.get_secret_value(),
                algorithms=[self._algorithm],
                issuer=self._issuers,
                # `sub` may be an object in older tokens; a clock that is a second ahead of ours
                # has issued no invalid token.
                options={
                    "require": ["exp", "iss", "sub"],
                    "verify_sub": False,
                    "verify_iat": False,
                    # The contract names signature, issuer and expiry.
                    "verify_aud": False,
                    "verify_jti": False,
                    # Below, by our own clock.
                    "verify_exp": False,
                    "verify_nbf": False,
                },
            )
            _check_times(claims, self._clock().timestamp())
            return _identity(claims)
        except (jwt.PyJWTError, ValidationError, ValueError, TypeError, OverflowError):
            raise Unauthorized from None


def _bearer(authorization: str | None) -> str | None:
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    """Raise one of the errors above outside of `nbf` to `exp`: RFC 7519 §4.1.4 and §4.1.5."""
    if not int(claims.get("nbf", 0)) <= now < int(claims["exp"]):
        raise ValueError("outside of its time")


def _identity(claims: Mapping[str, Any]) -> Identity:
    subject, user = claims["sub"], claims.get("user")
    user = user if isinstance(user, Mapping) else {}
    names = (_text(user.get("firstName")), _text(user.get("lastName")))
    email = _text(user.get("email"))
    return Identity.model_validate(
        {
            "account_uid": subject.get("uid") if isinstance(subject, Mapping) else subject,
            "handle": _text(user.get("handle")),
            "email": email if email and _EMAIL.fullmatch(email) else None,
            "name": " ".join(name for name in names if name) or None,
            "expires_at": from_epoch(min(int(claims["exp"]), _LATEST)),
        }
    )


def _text(value: Any) -> str | None:
    """What is for people to read: never a reason to refuse them."""
    return value[:_LONGEST_TEXT] if isinstance(value, str) and value else None
