"""Prove that what refunds and disputes took back is what they hold back at Stripe.

- Each refund and dispute of a top-up has the ledger rows whose amounts sum to it; a dispute is
  open here while it is open there.
- Each ledger row of a reversal has its refund or dispute at Stripe.
- The credits of a top-up's reversals are its credits in proportion to what is held back.
"""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from .clock import Clock
from .models import LedgerEntry, Reversal
from .reconcile import IN_FLIGHT
from .shapes import StripeData, dispute_reversal, payment_intent_id_of, refund_reversal
from .store import Store
from .store.audits import Seen
from .store.reversals import ReversedTopUp, cause_of
from .stripe_client import StripeClient

# Every change of a refund or a dispute has one of these, about itself.
_REVERSAL_EVENTS = (
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "charge.dispute.closed",
)

_ADVICE = "try `datalayer-stripe reconcile`"

# How often a payment that is being refunded is looked at again.
_LOOKS = 5


class ReversalAudit:
    """A part of an audit: `differ` gets kind, id and explanation, `count` a kind and a number."""

    def __init__(
        self,
        store: Store,
        stripe: StripeClient,
        clock: Clock,
        *,
        differ: Callable[[str, str, str], None],
        count: Callable[[str, int], None],
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._clock = clock
        self._differ = differ
        self._count = count

    async def run(self, seen: Seen) -> None:
        """Compare all; `seen` is a scratch collection. Raises StripeUnavailable."""
        await self._check_stripe(self._stripe.refund_pages(), refund_reversal, seen)
        await self._check_stripe(self._stripe.dispute_pages(), dispute_reversal, seen)
        async for payment_ids in self._store.reversals.reversed_payments():
            await self._check_ours(payment_ids, seen)

    async def _check_stripe(
        self,
        pages: AsyncIterator[Sequence[StripeData]],
        reversal_of: Callable[[StripeData], Reversal],
        seen: Seen,
    ) -> None:
        async for page in pages:
            await seen.add([data["id"] for data in page])
            payment_of = {data["id"]: payment_intent_id_of(data) for data in page}
            payment_ids = [one for one in payment_of.values() if one]
            credited = await self._store.reversals.by_payments(payment_ids)
            held = _amounts(await self._store.reversals.rows_of(payment_ids))
            problems = {}
            for data in page:
                top_up = credited.get(payment_of[data["id"]] or "")
                if top_up is None:
                    continue
                self._count(data["object"], 1)
                if problem := _difference(reversal_of(data), held[data["id"]], top_up):
                    problems[data["id"]] = problem
            if problems:
                await self._tell(page[0]["object"], problems)

    async def _tell(self, kind: str, problems: Mapping[str, str]) -> None:
        """Tell of these, but not of what has changed just now: that may be on its way."""
        # A dispute is decided, and a refund may fail, long after it was created.
        lately: set[str] = set()
        since = self._clock() - IN_FLIGHT
        async for events in self._stripe.event_pages(_REVERSAL_EVENTS, created_since=since):
            lately.update(event["data"]["object"]["id"] for event in events)
        for object_id, problem in problems.items():
            if object_id not in lately:
                self._differ(kind, object_id, problem)

    async def _check_ours(self, payment_ids: Sequence[str], seen: Seen) -> None:
        rows = await self._store.reversals.rows_of(payment_ids)
        unseen = await seen.missing(sorted({cause_of(row) for row in rows}))
        for row in rows:
            if cause_of(row) in unseen and not await self._is_at_stripe(row):
                problem = f"{row.credits} credits, and Stripe has no {cause_of(row)}"
                self._differ("ledger", row.id, problem)
        top_ups = await self._store.reversals.by_payments(payment_ids)
        of_payment = _by_payment(rows)
        for payment_id in payment_ids:
            top_up = top_ups.get(payment_id)
            if top_up is None or _inconsistency(top_up, of_payment[payment_id]):
                await self._look_again(payment_id)

    async def _look_again(self, payment_id: str) -> None:
        """Top-up and rows are read one after the other: it may have been refunded meanwhile."""
        for look in range(_LOOKS):
            top_up = (await self._store.reversals.by_payments([payment_id])).get(payment_id)
            rows = await self._store.reversals.rows_of([payment_id])
            problem = _inconsistency(top_up, rows) if top_up else "reversed, and never credited"
            if problem is None:
                return
            if look == _LOOKS - 1:
                self._differ("reversal", payment_id, problem)

    async def _is_at_stripe(self, row: LedgerEntry) -> bool:
        """Whether Stripe has it after all: it may have come since the lists were read."""
        payment_id = row.reverses or ""
        listed = [
            *await self._stripe.list_refunds(payment_id),
            *await self._stripe.list_disputes(payment_id),
        ]
        return cause_of(row) in {data["id"] for data in listed}


def _difference(theirs: Reversal, held: int, top_up: ReversedTopUp) -> str | None:
    """What Stripe and the ledger disagree on and what to do, in words, or None."""
    if theirs.incomparable_with(top_up.entry):
        return (
            f"{theirs.amount} {theirs.currency} are held back, and the payment is in "
            f"{top_up.entry.currency}: take back its credits by hand"
        )
    if theirs.amount != held:
        return f"amount: ledger {held}, Stripe {theirs.amount}: {_ADVICE}"
    if theirs.is_open is not (theirs.id in top_up.open_disputes):
        where = "open at Stripe, and not here" if theirs.is_open else "open here, and not at Stripe"
        return f"{where}: {_ADVICE}"
    return None


def _amounts(rows: Sequence[LedgerEntry]) -> Counter[str]:
    """What the rows hold back for each refund and dispute."""
    held: Counter[str] = Counter()
    for row in rows:
        held[cause_of(row)] -= row.amount
    return held


def _by_payment(rows: Sequence[LedgerEntry]) -> dict[str, list[LedgerEntry]]:
    found: dict[str, list[LedgerEntry]] = defaultdict(list)
    for row in rows:
        found[row.reverses or ""].append(row)
    return found


def _inconsistency(top_up: ReversedTopUp, rows: Sequence[LedgerEntry]) -> str | None:
    """What a top-up and the rows of its reversals disagree on, in words, or None."""
    if any(row.account_uid != top_up.entry.account_uid for row in rows):
        return "a reversal is on another account"
    amounts = {cause: held for cause, held in _amounts(rows).items() if held}
    kept = {cause: one.amount for cause, one in top_up.reversals.items() if one.amount}
    if amounts != kept:
        return f"its rows hold back {amounts}, it says {kept}"
    taken = -sum(row.credits for row in rows)
    due = top_up.entry.taken_back(top_up.amount)
    return None if taken == due else f"{taken} credits are taken back, {due} are due"
