"""Prove that what refunds and disputes took back is what they hold back at Stripe.

- Each refund and dispute of a top-up has the ledger rows whose amounts sum to it; a dispute is
  open here while it is open there.
- Each ledger row of a reversal has its refund or dispute at Stripe.
- The credits of a top-up's reversals are its credits in proportion to what is held back.
"""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from ..clock import Clock
from ..events import Event
from ..models import LedgerEntry, Reversal
from ..plugin_api.registry import Registry
from ..store import Store
from ..store.audits import Seen
from ..store.events import HANDLED, REJECTED
from ..store.reversals import ReversedTopUp, cause_of
from ..stripe_api.client import StripeClient
from ..stripe_api.objects import StripeData, dispute_reversal, payment_intent_id_of, refund_reversal
from .differences import RECONCILE, REPAIR, Difference, of_payment
from .reversals import rejected_too_soon
from .sweeps import EVENTS_KEPT, IN_FLIGHT

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

# How often a payment that is being refunded is looked at again.
_LOOKS = 5


class _Problem(NamedTuple):
    """What differs, and of which payment; None for what only a person can settle."""

    text: str
    payment_id: str | None


class ReversalAudit:
    """A part of an audit.

    `differ` gets each difference, `count` a kind and how many were checked, `young` a kind and
    how many were too young to judge. With `account_uid` and `since` only what is that account's,
    and what Stripe has created since then.
    """

    def __init__(  # noqa: PLR0913 (its parts, its scope, and who watches it)
        self,
        store: Store,
        stripe: StripeClient,
        registry: Registry,
        clock: Clock,
        *,
        differ: Callable[[Difference], None],
        count: Callable[[str, int], None],
        young: Callable[[str, int], None],
        account_uid: str | None = None,
        since: datetime | None = None,
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._registry = registry
        self._clock = clock
        self._differ = differ
        self._count = count
        self._young = young
        self._account_uid = account_uid
        self._since = since

    async def run(self, seen: Seen) -> None:
        """Compare all; `seen` is a scratch collection. Raises StripeUnavailable."""
        since = self._since
        refunds = self._stripe.refund_pages(created_since=since)
        await self._check_stripe("refund", refunds, refund_reversal, seen)
        disputes = self._stripe.dispute_pages(created_since=since)
        await self._check_stripe("dispute", disputes, dispute_reversal, seen)
        async for payment_ids in self._store.reversals.reversed_payments():
            await self._check_ours(payment_ids, seen)

    async def _check_stripe(
        self,
        kind: str,
        pages: AsyncIterator[Sequence[StripeData]],
        reversal_of: Callable[[StripeData], Reversal],
        seen: Seen,
    ) -> None:
        problems: dict[str, _Problem] = {}
        async for page in pages:
            await seen.add([data["id"] for data in page])
            payment_of = {data["id"]: payment_intent_id_of(data) for data in page}
            payment_ids = [one for one in payment_of.values() if one]
            credited = await self._store.reversals.by_payments(payment_ids)
            held = _amounts(await self._store.reversals.rows_of(payment_ids))
            for data in page:
                top_up = credited.get(payment_of[data["id"]] or "")
                if top_up is None or not self._in_scope(top_up):
                    continue
                self._count(kind, 1)
                if problem := _difference(reversal_of(data), held[data["id"]], top_up):
                    problems[data["id"]] = problem
        if problems:
            await self._tell(kind, problems)

    def _in_scope(self, top_up: ReversedTopUp) -> bool:
        return self._account_uid in (None, top_up.entry.account_uid)

    async def _tell(self, kind: str, problems: Mapping[str, _Problem]) -> None:
        """Tell of these, but not of what has changed just now: that may be on its way."""
        # A dispute is decided, and a refund may fail, long after it was created.
        lately: set[str] = set()
        undelivered: set[str] = set()
        now = self._clock()
        pages = self._stripe.event_pages(_REVERSAL_EVENTS, created_since=now - EVENTS_KEPT)
        async for page in pages:
            for event in map(Event.model_validate, page):
                if event.object_id is None or event.object_id not in problems:
                    continue
                if event.created >= (now - IN_FLIGHT).timestamp():
                    lately.add(event.object_id)
                elif await self._is_undone(event):
                    undelivered.add(event.object_id)
        self._young(kind, len(lately))
        for object_id, problem in problems.items():
            if object_id in lately:
                continue
            if problem.payment_id is None:
                self._differ(Difference(kind, object_id, problem.text))
                continue
            command = RECONCILE if object_id in undelivered else REPAIR
            self._differ(
                of_payment(kind, object_id, problem.text, problem.payment_id, command=command)
            )

    async def _is_undone(self, event: Event) -> bool:
        """Return whether a reconciliation would let a plugin that moves money run on it."""
        runs = (await self._store.events.runs([event.id])).get(event.id, {})
        undone = {
            name for name in self._registry.money_on(event.type) if runs.get(name) not in HANDLED
        }
        if undone and all(runs.get(name) == REJECTED for name in undone):
            return await rejected_too_soon(self._store, event, undone)
        return bool(undone)

    async def _check_ours(self, payment_ids: Sequence[str], seen: Seen) -> None:
        of_payment_id = _by_payment(await self._store.reversals.rows_of(payment_ids))
        top_ups = await self._store.reversals.by_payments(payment_ids)
        for payment_id in payment_ids:
            rows, top_up = of_payment_id[payment_id], top_ups.get(payment_id)
            if not self._is_of_account(rows, top_up):
                continue
            await self._check_causes(payment_id, rows, seen)
            if _inconsistency(top_up, rows):
                await self._look_again(payment_id)

    def _is_of_account(self, rows: Sequence[LedgerEntry], top_up: ReversedTopUp | None) -> bool:
        return (top_up is not None and self._in_scope(top_up)) or any(
            self._account_uid in (None, row.account_uid) for row in rows
        )

    async def _check_causes(self, payment_id: str, rows: Sequence[LedgerEntry], seen: Seen) -> None:
        """Tell of refunds and disputes that hold something back here, and are not at Stripe."""
        held = _amounts(rows)
        unseen = await seen.missing(sorted(cause for cause, amount in held.items() if amount))
        for row in rows:
            if row.kind == "correction" or cause_of(row) not in unseen:
                continue
            if not await self._is_at_stripe(row):
                problem = f"{row.credits} credits, and Stripe has no {cause_of(row)}"
                self._differ(of_payment("ledger", row.id, problem, payment_id))

    async def _look_again(self, payment_id: str) -> None:
        """Top-up and rows are read one after the other: it may have been refunded meanwhile."""
        for look in range(_LOOKS):
            top_up = (await self._store.reversals.by_payments([payment_id])).get(payment_id)
            rows = await self._store.reversals.rows_of([payment_id])
            problem = _inconsistency(top_up, rows)
            if problem is None:
                return
            if look == _LOOKS - 1:
                self._differ(of_payment("reversal", payment_id, problem, payment_id))

    async def _is_at_stripe(self, row: LedgerEntry) -> bool:
        """Whether Stripe has it after all: it may have come since the lists were read."""
        payment_id = row.reverses or ""
        listed = [
            *await self._stripe.list_refunds(payment_id),
            *await self._stripe.list_disputes(payment_id),
        ]
        return cause_of(row) in {data["id"] for data in listed}


def _difference(theirs: Reversal, held: int, top_up: ReversedTopUp) -> _Problem | None:
    """What Stripe and the ledger disagree on, or None."""
    if theirs.incomparable_with(top_up.entry):
        text = (
            f"{theirs.amount} {theirs.currency} are held back, and the payment is in "
            f"{top_up.entry.currency}: take back its credits by hand"
        )
        return _Problem(text, None)
    if theirs.amount != held:
        return _Problem(f"amount: ledger {held}, Stripe {theirs.amount}", top_up.entry.id)
    if theirs.is_open is not (theirs.id in top_up.open_disputes):
        where = "open at Stripe, and not here" if theirs.is_open else "open here, and not at Stripe"
        return _Problem(where, top_up.entry.id)
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


def _inconsistency(top_up: ReversedTopUp | None, rows: Sequence[LedgerEntry]) -> str | None:
    """What a top-up and the rows of its reversals disagree on, in words, or None."""
    if top_up is None:
        credits = sum(row.credits for row in rows)
        return "reversed, and never credited" if credits or any(_amounts(rows).values()) else None
    elsewhere: Counter[str] = Counter()
    for row in rows:
        elsewhere[row.account_uid] += row.credits
    del elsewhere[top_up.entry.account_uid]
    if any(elsewhere.values()):
        return "a reversal is on another account"
    amounts = {cause: held for cause, held in _amounts(rows).items() if held}
    kept = {cause: one.amount for cause, one in top_up.reversals.items() if one.amount}
    if amounts != kept:
        return f"its rows hold back {amounts}, it says {kept}"
    taken = -sum(row.credits for row in rows)
    due = top_up.entry.taken_back(top_up.amount)
    return None if taken == due else f"{taken} credits are taken back, {due} are due"
