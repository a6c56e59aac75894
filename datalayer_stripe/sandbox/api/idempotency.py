"""Idempotency keys: a request that is sent twice is executed once.

https://docs.stripe.com/api/idempotent_requests
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..engine.errors import StripeError
from ..shapes.objects import Object

_KEPT_FOR = 24 * 3600
_MAX_LENGTH = 255


@dataclass(frozen=True)
class Answer:
    """The answer to a request, kept for its repetitions."""

    status: int
    body: Object
    request_id: str


@dataclass
class _Entry:
    path: str
    params: dict[str, Any]
    at: float
    answer: Answer | None = None


class IdempotencyKeys:
    """The answers given to requests that carried a key; Stripe keeps them for a day."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._entries: dict[str, _Entry] = {}

    def begin(self, key: str, path: str, params: dict[str, Any]) -> Answer | None:
        """Begin a request and return the answer it has had before, if any.

        Raises:
            StripeError: the key came with another request, or its first one is still running.
        """
        if len(key) > _MAX_LENGTH:
            raise StripeError(
                400,
                f"Idempotency keys can be up to {_MAX_LENGTH} characters long.",
                type="idempotency_error",
                executed=False,
            )
        entry = self._entries.get(key)
        if entry is None or self._clock() - entry.at > _KEPT_FOR:
            self._entries[key] = _Entry(path, params, self._clock())
            return None
        if entry.path != path:
            raise _reused(
                f"Keys for idempotent requests can only be used for the same endpoint they were "
                f"first used for ('{path}' vs '{entry.path}'). Try using a key other than "
                f"'{key}' if you meant to execute a different request."
            )
        if entry.params != params:
            raise _reused(
                f"Keys for idempotent requests can only be used with the same parameters they were "
                f"first used with. Try using a key other than '{key}' if you meant to execute a "
                "different request."
            )
        if entry.answer is None:
            raise StripeError(
                409,
                "There is currently another in-progress request using this Idempotent Key (that "
                "probably means you submitted twice, and the other request is still going "
                f"through): {key}. Please try again later.",
                code="idempotency_key_in_use",
                type="idempotency_error",
                executed=False,
            )
        return entry.answer

    def keep(self, key: str, answer: Answer) -> None:
        """Keep the answer of the request that a key has begun."""
        self._entries[key].answer = answer

    def forget(self, key: str) -> None:
        """Forget a key whose request was not executed."""
        del self._entries[key]


def _reused(message: str) -> StripeError:
    return StripeError(400, message, type="idempotency_error", executed=False)
