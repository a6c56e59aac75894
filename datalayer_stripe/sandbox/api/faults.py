"""Troubles of the API, wished on it by tests: refusals, slowness, cut connections.

https://docs.stripe.com/error-low-level
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

from ..engine.errors import StripeError


class Call(NamedTuple):
    """One request to the API; `status` is None where the connection was cut."""

    method: str
    path: str
    idempotency_key: str | None
    status: int | None


@dataclass
class _Fault:
    """A fault for the next `times` requests to paths that begin with `path_prefix`."""

    times: int | None
    path_prefix: str | None
    status: int = 0
    seconds: float = 0.0
    after: bool = False
    saved: bool = False

    def strikes(self, path: str) -> bool:
        """Whether the fault is for this request; counts it if so."""
        if self.times == 0 or not path.startswith(self.path_prefix or "/"):
            return False
        if self.times is not None:
            self.times -= 1
        return True


class ApiFaults:
    """The API's troubles, and the record of what it was asked.

    Attributes:
        calls: the record of all requests, oldest first.
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
        """Answer the next `times` requests with a 400, 429, 500 or 503; nothing is executed.

        Args:
            status: the status of the answer.
            times: how many requests.
            path_prefix: only for paths that begin with it.
            saved: keep the answer under the request's idempotency key and repeat it for a day, as
                Stripe does once an endpoint has begun to work on a request. Requests without a
                key are not refused then.
        """
        self._refusals.append(_Fault(times, path_prefix, status=status, saved=saved))

    def delay(
        self, seconds: float, times: int | None = None, path_prefix: str | None = None
    ) -> None:
        """Wait before the next `times` requests are executed; None: before all of them."""
        self._delays.append(_Fault(times, path_prefix, seconds=seconds))

    def cut(
        self, times: int = 1, *, cut_after: bool = False, path_prefix: str | None = None
    ) -> None:
        """Close the connection of the next `times` requests without an answer.

        Args:
            times: how many requests.
            cut_after: close it after the work was done, instead of before.
            path_prefix: only for paths that begin with it.
        """
        self._cuts.append(_Fault(times, path_prefix, after=cut_after))

    def normal(self) -> None:
        """End all troubles."""
        self._refusals, self._delays, self._cuts = [], [], []

    def refusal(self, path: str, key: str | None) -> StripeError | None:
        """Return the error to answer a request with, if it is to be refused."""
        fault = _first([one for one in self._refusals if key or not one.saved], path)
        return None if fault is None else _error(fault.status, executed=fault.saved)

    def seconds(self, path: str) -> float:
        """Return how long to wait before a request is executed."""
        fault = _first(self._delays, path)
        return 0.0 if fault is None else fault.seconds

    def cuts(self, path: str) -> tuple[bool, bool]:
        """Say whether to cut the connection of a request: before and after it is executed."""
        fault = _first(self._cuts, path)
        return (False, False) if fault is None else (not fault.after, fault.after)


def _first(faults: list[_Fault], path: str) -> _Fault | None:
    return next((fault for fault in faults if fault.strikes(path)), None)


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
