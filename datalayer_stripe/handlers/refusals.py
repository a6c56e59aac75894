"""Count the requests that are refused before they are processed, by reason."""

from collections.abc import Mapping

from prometheus_client import Counter

from ..errors import (
    InvalidRequest,
    InvalidSignature,
    OtherMode,
    Overloaded,
    RateLimited,
    RequestError,
    TooLarge,
    Unauthorized,
    UnsupportedMediaType,
)

# By the class itself: a subclass, such as a price that Stripe does not have, is an answer to a
# request that was processed.
_REASONS: Mapping[type[RequestError], str] = {
    InvalidRequest: "malformed",
    InvalidSignature: "signature",
    OtherMode: "mode",
    Overloaded: "overloaded",
    RateLimited: "rate",
    TooLarge: "too_large",
    Unauthorized: "token",
    UnsupportedMediaType: "media_type",
}
_TIMEOUT = "timeout"

REASONS = (*_REASONS.values(), _TIMEOUT)
"""All values of the metric's label `reason`."""


class Refusals:
    """Counter of refused requests.

    Args:
        counter: The metric of the refusals.
    """

    def __init__(self, counter: Counter) -> None:
        # Each series exists from the start: one that starts at 1 has no increase.
        self._series = {reason: counter.labels(reason) for reason in REASONS}

    def count(self, error: RequestError) -> None:
        """Count an error response, if it refuses a request before it was processed.

        Args:
            error: The error.
        """
        if reason := _REASONS.get(type(error)):
            self._series[reason].inc()

    def count_timeout(self) -> None:
        """Count a connection that is closed because its request body did not arrive in time."""
        self._series[_TIMEOUT].inc()
