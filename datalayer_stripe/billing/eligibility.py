"""Who may buy credits: an account with an active monthly subscription to one of our products."""

from collections.abc import Collection
from datetime import datetime, timedelta

from ..models import SubscriptionSnapshot

# A renewal's events may come late; a day's grace never refuses somebody who has paid.
GRACE = timedelta(days=1)


def is_eligible(
    snapshot: SubscriptionSnapshot, product_ids: Collection[str], now: datetime
) -> bool:
    """Whether this subscription lets its account buy credits at `now`."""
    return (
        snapshot.status in {"active", "trialing"}
        and snapshot.product_id in product_ids
        and snapshot.interval == "month"
        and snapshot.interval_count == 1
        and snapshot.current_period_end is not None
        and now < snapshot.current_period_end + GRACE
    )
