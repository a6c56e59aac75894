"""Idempotency keys: execute a request once, even if it is sent twice.

https://docs.stripe.com/api/idempotent_requests
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..engine.errors import StripeError
from ..shapes.objects import Object

_LIFETIME = 24 * 3600  # seconds
_MAX_LENGTH = 255


@dataclass(frozen=True)
class Answer:
    """The answer to a request, stored for its repetitions.

    Attributes:
        status: the HTTP status.
        body: the JSON body.
        request_id: `req_…` of the request that was executed.
    """

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
    """Store of answers by idempotency key, each kept for a day.

    Args:
        clock: returns the time in epoch seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._entries: dict[str, _Entry] = {}

    def begin(self, key: str, path: str, params: dict[str, Any]) -> Answer | None:
        """Register a request and return the stored answer of an earlier one with the same key.

        Args:
            key: the idempotency key.
            path: the request's path.
            params: its decoded parameters.

        Returns:
            The stored answer; None if the request is new and must be executed.

        Raises:
            StripeError: the key was used for a different request, or the first request with this
                key is still running.
        """
        if len(key) > _MAX_LENGTH:
            raise StripeError(
                400,
                f"Idempotency keys can be up to {_MAX_LENGTH} characters long.",
                type="idempotency_error",
                executed=False,
            )
        entry = self._entries.get(key)
        if entry is None or self._clock() - entry.at > _LIFETIME:
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
        """Store the answer of a request that `begin` registered."""
        self._entries[key].answer = answer

    def forget(self, key: str) -> None:
        """Remove a key whose request was not executed."""
        del self._entries[key]


def _reused(message: str) -> StripeError:
    return StripeError(400, message, type="idempotency_error", executed=False)
