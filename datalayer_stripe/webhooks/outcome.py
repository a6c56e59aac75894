"""How a delivery, one plugin's run or a deferred job ends."""

from collections.abc import Collection
from enum import StrEnum


class Outcome(StrEnum):
    """How a delivery, or one plugin's part of it, ended.

    A delivery that ends as `FAILED` or `OVERLOADED` is answered 503, so that Stripe sends it again.
    """

    PROCESSED = "processed"
    """The plugin's writes are committed."""
    DEFERRED = "deferred"
    """A job for the plugin is committed."""
    DUPLICATE = "duplicate"
    """The plugin finished this event before."""
    IGNORED = "ignored"
    """No plugin runs on this event type."""
    REJECTED = "rejected"
    """The plugin raised `Reject`: an operator has to decide."""
    FAILED = "failed"
    """The plugin raised another error, and is run again."""
    OVERLOADED = "overloaded"
    """Too many deliveries are in flight."""


# Of several plugins' outcomes, the delivery has the one that an operator needs to know first.
_PRIORITY = (
    Outcome.FAILED,
    Outcome.REJECTED,
    Outcome.PROCESSED,
    Outcome.DEFERRED,
    Outcome.DUPLICATE,
)


def combined(outcomes: Collection[Outcome]) -> Outcome:
    """Return the outcome of a delivery from those of its plugins, at least one."""
    return next(outcome for outcome in _PRIORITY if outcome in outcomes)
