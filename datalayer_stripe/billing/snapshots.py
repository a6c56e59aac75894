"""Choose the snapshot that counts for an account, and decide whether that allows purchases."""

from collections.abc import Collection
from datetime import datetime, timedelta

from ..models import SubscriptionSnapshot

# The status of an account's primary subscription, best first.
_STATUS_PRIORITY = ("active", "trialing", "past_due", "unpaid", "paused", "incomplete")

GRACE_PERIOD = timedelta(days=1)
"""How long an account can still buy credits after the end of a paid period.

The events of a renewal may be late.
"""


def primary_subscription(
    snapshots: Collection[SubscriptionSnapshot],
) -> SubscriptionSnapshot | None:
    """Return the account's subscription with the best status, the newest of several.

    Args:
        snapshots: The snapshots of the account's subscriptions.

    Returns:
        None if there are none.
    """

    def rank(snapshot: SubscriptionSnapshot) -> tuple[int, float]:
        status = snapshot.status
        priority = (
            _STATUS_PRIORITY.index(status) if status in _STATUS_PRIORITY else len(_STATUS_PRIORITY)
        )
        return priority, -snapshot.created_at.timestamp()

    return min(snapshots, key=rank, default=None)


def allows_purchases(
    snapshot: SubscriptionSnapshot, product_ids: Collection[str], now: datetime
) -> bool:
    """Return whether a subscription allows its account to buy credits.

    Args:
        snapshot: The snapshot of the subscription.
        product_ids: The products whose subscriptions allow purchases.
        now: The present time.
    """
    return (
        snapshot.status in {"active", "trialing"}
        and snapshot.product_id in product_ids
        and snapshot.interval == "month"
        and snapshot.interval_count == 1
        and snapshot.current_period_end is not None
        and now < snapshot.current_period_end + GRACE_PERIOD
    )
