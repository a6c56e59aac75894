"""Simulated faults of the API: error answers, delays, cut connections.

https://docs.stripe.com/error-low-level
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from ..engine.errors import StripeError


class Call(NamedTuple):
    """A request to the API. `status` is None if the connection was cut."""

    method: str
    path: str
    idempotency_key: str | None
    status: int | None


@dataclass
class _Fault:
    """A fault for the next `times` requests whose path starts with `path_prefix`.

    Attributes:
        times: how many more requests it affects; None: all.
        path_prefix: None: every path.
        status: of the error answer.
        seconds: of the delay.
        after: cut the connection after the execution instead of before it.
        saved: store the error answer under the request's idempotency key.
    """

    times: int | None
    path_prefix: str | None
    status: int = 0
    seconds: float = 0.0
    after: bool = False
    saved: bool = False

    def consume(self, path: str) -> bool:
        """Return whether the fault affects this request; if so, count the request."""
        if self.times == 0 or not path.startswith(self.path_prefix or "/"):
            return False
        if self.times is not None:
            self.times -= 1
        return True


class ApiFaults:
    """Simulated faults of the API, and a record of its requests.

    Attributes:
        calls: all requests, oldest first.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._refusals: list[_Fault] = []
        self._delays: list[_Fault] = []
        self._cuts: list[_Fault] = []

    def refuse(
        self,
        status: int = 503,
        times: int = 1,
        path_prefix: str | None = None,
        *,
        saved: bool = False,
    ) -> None:
        """Answer the next `times` requests with an error, without executing them.

        Args:
            status: the HTTP status of the answer: 400, 429, 500 or 503.
            times: how many requests.
            path_prefix: affects only paths that start with it.
            saved: store the answer under the request's idempotency key and replay it for a day, as
                Stripe does once an endpoint has started to execute a request. Requests without a
                key are not affected then.
        """
        self._refusals.append(_Fault(times, path_prefix, status=status, saved=saved))

    def delay(
        self, seconds: float, times: int | None = None, path_prefix: str | None = None
    ) -> None:
        """Wait before the execution of the next `times` requests.

        Args:
            seconds: how long to wait.
            times: how many requests; None: all.
            path_prefix: affects only paths that start with it.
        """
        self._delays.append(_Fault(times, path_prefix, seconds=seconds))

    def cut(
        self, times: int = 1, *, cut_after: bool = False, path_prefix: str | None = None
    ) -> None:
        """Close the connection of the next `times` requests without an answer.

        Args:
            times: how many requests.
            cut_after: close it after the request was executed, instead of before.
            path_prefix: affects only paths that start with it.
        """
        self._cuts.append(_Fault(times, path_prefix, after=cut_after))

    def normal(self) -> None:
        """Remove all simulated faults."""
        self._refusals, self._delays, self._cuts = [], [], []

    def refusal(self, path: str, key: str | None) -> StripeError | None:
        """Return the error to answer a request with; None: execute it.

        Args:
            path: the request's path.
            key: its idempotency key, if it has one.
        """
        fault = _first([fault for fault in self._refusals if key or not fault.saved], path)
        return None if fault is None else _error(fault.status, executed=fault.saved)

    def seconds(self, path: str) -> float:
        """Return the seconds to wait before a request is executed."""
        fault = _first(self._delays, path)
        return 0.0 if fault is None else fault.seconds

    def cuts(self, path: str) -> tuple[bool, bool]:
        """Return whether to cut a request's connection, as `(before, after)` its execution."""
        fault = _first(self._cuts, path)
        return (False, False) if fault is None else (not fault.after, fault.after)


def _first(faults: list[_Fault], path: str) -> _Fault | None:
    return next((fault for fault in faults if fault.consume(path)), None)


def _error(status: int, *, executed: bool) -> StripeError:
    details: dict[str, Any] = {"type": "api_error"}
    message = "An error occurred with our connection to Stripe. Please try again later."
    if status == 429:
        details = {"type": "invalid_request_error", "code": "rate_limit"}
        message = "Request rate limit exceeded. You can learn more about rate limits here "
        message += "https://docs.stripe.com/rate-limits."
    elif status == 400:
        details = {"type": "invalid_request_error"}
        message = "This request is refused."
    return StripeError(status, message, executed=executed, **details)
