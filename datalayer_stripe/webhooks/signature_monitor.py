"""Warn if deliveries are refused for their signatures and none is verified.

With a webhook secret of another endpoint, each delivery is answered 400, as a stranger's request
is. The difference is that no delivery is verified in between.
"""

import logging
import time
from collections.abc import Callable

from ..settings import variable

logger = logging.getLogger(__name__)

# The log has at most one warning in this time, however many deliveries are refused.
WARNING_INTERVAL = 3600.0  # seconds

# After a delivery was verified, this many refused ones in a row cause a warning.
REFUSED_IN_A_ROW = 10

_ADVICE = (
    f"Compare {variable('stripe_webhook_secrets')} with the endpoint's signing secret in Stripe's "
    "dashboard. Other causes: a proxy changes the body, or this machine's clock is wrong."
)


class SignatureMonitor:
    """Counts the deliveries that were refused since the last one that was verified.

    Args:
        monotonic: Returns seconds.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._any_verified = False
        self._refused = 0
        self._warned_at = float("-inf")

    def count_verified(self) -> None:
        """Count a delivery whose signature is valid."""
        self._any_verified = True
        self._refused = 0

    def count_refused(self) -> None:
        """Count a delivery whose signature is not valid, and log a warning once an hour."""
        self._refused += 1
        warning = self.warning
        if warning and self._monotonic() - self._warned_at >= WARNING_INTERVAL:
            self._warned_at = self._monotonic()
            logger.warning("Webhook: %s", warning)

    @property
    def warning(self) -> str | None:
        """The warning for the operator, or None."""
        if not self._refused:
            return None
        if not self._any_verified:
            counts = f"no delivery verified since this process started, {self._refused} refused"
            return f"{counts}. {_ADVICE}"
        if self._refused >= REFUSED_IN_A_ROW:
            return f"{self._refused} deliveries refused since the last verified one. {_ADVICE}"
        return None
