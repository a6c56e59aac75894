"""How often an account may make us ask Stripe, so that nobody uses up what Stripe lets us ask.

Of each process. Who is refused asks again: docs.stripe.com/rate-limits is far away then.
"""

import math
from datetime import timedelta

from throttled import RateLimiterType, Throttled, rate_limiter
from throttled.store import MemoryStore

from .errors import RateLimited

AT_ONCE = 20
SECONDS_EACH = 3

# Beyond that those are forgotten who have asked for nothing for the longest time.
MOST_ACCOUNTS = 10_000


class Allowance:
    """`at_once` requests without a pause, and one more whenever `seconds_each` have passed."""

    def __init__(self, *, at_once: int = AT_ONCE, seconds_each: int = SECONDS_EACH) -> None:
        self._throttled = Throttled(
            using=RateLimiterType.GCRA.value,
            quota=rate_limiter.per_duration(timedelta(seconds=seconds_each), 1, burst=at_once),
            store=MemoryStore(options={"MAX_SIZE": MOST_ACCOUNTS}),
        )

    def take(self, account_uid: str) -> None:
        """Count one request. Raises RateLimited, with the seconds to wait, when it is too many."""
        result = self._throttled.limit(account_uid)
        if result.limited:
            seconds = max(1, math.ceil(result.state.retry_after))
            raise RateLimited(
                f"Too many requests from this account. Please try again in {seconds} s.",
                retry_after=seconds,
            )
