"""Notice that deliveries are refused for their signatures and none is verified.

A webhook secret that is not the endpoint's looks like strangers who knock: each delivery is
answered 400. What tells them apart is that nothing else comes.
"""

import logging
import time
from collections.abc import Callable

logger = logging.getLogger(__name__)

# However many strangers there are, the log has one line in this time.
WARNING_INTERVAL = 3600.0  # seconds

# Refused deliveries in a row that are worth a warning once others have been verified.
REFUSED_IN_A_ROW = 10

_ADVICE = (
    "Compare DATALAYER_STRIPE_WEBHOOK_SECRET with the endpoint's signing secret in Stripe's "
    "dashboard; or a proxy changes the body, or this machine's clock is wrong."
)


class SignatureMonitor:
    """Counts the deliveries that were refused since the last one that was verified.

    `monotonic` returns seconds.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._any_verified = False
        self._refused = 0
        self._warned_at = float("-inf")

    def count_verified(self) -> None:
        """Count a delivery whose signature is right."""
        self._any_verified = True
        self._refused = 0

    def count_refused(self) -> None:
        """Count a delivery whose signature is wrong, and log a warning now and then."""
        self._refused += 1
        warning = self.warning
        if warning and self._monotonic() - self._warned_at >= WARNING_INTERVAL:
            self._warned_at = self._monotonic()
            logger.warning("Webhook: %s", warning)

    @property
    def warning(self) -> str | None:
        """What an operator has to know, or None."""
        if not self._refused:
            return None
        if not self._any_verified:
            return f"no delivery verified since start, {self._refused} refused. {_ADVICE}"
        if self._refused >= REFUSED_IN_A_ROW:
            return f"{self._refused} deliveries refused since the last verified one. {_ADVICE}"
        return None
