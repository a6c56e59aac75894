"""The advice to a plugin's author for each kind of difference."""

from collections.abc import Collection

from .scenarios import Stress
from .snapshot import OBSERVED, STRIPE


def advice_for(stress: Stress, places: Collection[str]) -> str:
    """Return what to do about a difference.

    Args:
        stress: What the failed scenario tests.
        places: Where the final states differ: the places of a snapshot.
    """
    if stress is Stress.REPEATED_RUN:
        return _ADVICE[stress]
    if set(places) <= {OBSERVED}:
        return (
            "external effects can happen twice: send an idempotency key made of event.id with the "
            "call, by which the receiving service recognizes it, and let observe() count each key "
            "once."
        )
    if STRIPE in places:
        return (
            "pass an idempotency key to each call that creates an object at Stripe: event.id or "
            "the object's id, the same in each run."
        )
    return _ADVICE[stress]


_RECORD_WRITES = (
    "write only with ctx.collection, ctx.ledger and ctx.snapshots, which are committed together "
    "with the mark, and keep no state in the module."
)
_ADVICE = {
    Stress.REPEATED_RUN: (
        "two runs that begin in the same state must end in the same state: keep no state in the "
        "module, take the time from ctx.now, and make ids from the event, not at random. Name "
        "fields that may differ in ignore=[…]."
    ),
    Stress.DUPLICATES: _RECORD_WRITES,
    Stress.FAULT: _RECORD_WRITES,
    Stress.CONCURRENCY: (
        "the document changed between the read and the write: use operators that do not depend on "
        "the read, such as $inc and $max, or say in expect=… what the document must still contain."
    ),
    Stress.ORDER: (
        "events may arrive in any order: take an event as a hint and fetch the current state from "
        "Stripe, or write what does not depend on the order: $inc, $max, $addToSet, or one "
        "document per object."
    ),
}
