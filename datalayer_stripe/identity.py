"""Who calls, by the bearer token: a JWT of Datalayer's, RFC 7519."""

import re
from collections.abc import Collection, Mapping
from typing import Any

import jwt
from pydantic import SecretStr, ValidationError

from .errors import Unauthorized
from .models import Identity

# Stripe refuses a customer whose e-mail address is none, and names of more than 256 characters.
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_LONGEST_TEXT = 120


class BearerTokens:
    """Reads `Authorization: Bearer` tokens signed with one secret and one algorithm."""

    def __init__(self, secret: SecretStr, algorithm: str, issuers: Collection[str]) -> None:
        self._secret = secret
        self._algorithm = algorithm
        self._issuers = list(issuers)

    def identity(self, authorization: str | None) -> Identity:
        """The caller. Raises Unauthorized, the same for every fault."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthorized
        try:
            claims = jwt.decode(
                token.strip(),
                self._secret.get_secret_value(),
                algorithms=[self._algorithm],
                issuer=self._issuers,
                # `sub` may be an object in older tokens; a clock that is a second ahead of ours
                # has issued no invalid token.
                options={
                    "require": ["exp", "iss", "sub"],
                    "verify_sub": False,
                    "verify_iat": False,
                },
            )
            return _identity(claims)
        except (jwt.PyJWTError, ValidationError, ValueError):
            raise Unauthorized from None


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
        }
    )


def _text(value: Any) -> str | None:
    """What is for people to read: never a reason to refuse them."""
    return value[:_LONGEST_TEXT] if isinstance(value, str) and value else None
