"""Check that the credits taken back match the refunds and disputes at Stripe.

- The amounts of the ledger rows of a refund or a dispute sum to its amount. A dispute is open in
  the ledger while it is open at Stripe.
- Each ledger row of a reversal has its refund or dispute at Stripe.
- The credits that a top-up's reversals take back are proportional to their amount.
"""

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from ..clock import Clock
from ..events import REVERSAL_EVENT_TYPES, Event
from ..models import LedgerEntry, Reversal
from ..plugin_api.registry import Registry
from ..store import Store
from ..store.audits import ScratchCollection
from ..store.event_records import HANDLED, REJECTED
from ..store.reversals import ReversedTopUp, cause_of
from ..stripe_api.client import StripeClient
from ..stripe_api.objects import StripeData, dispute_reversal, payment_intent_id_of, refund_reversal
from .differences import RECONCILE_COMMAND, REPAIR_COMMAND, Difference, payment_difference
from .findings import EVENT_RETENTION, GRACE_PERIOD
from .rejections import can_retry_rejection

# How often a payment that is refunded while it is read is read.
_MAX_READS = 5


class _Mismatch(NamedTuple):
    """How a refund or a dispute differs from the ledger.

    `payment_id` is the payment to repair; None if an operator has to decide.
    """

    text: str
    payment_id: str | None


class ReversalAudit:
    """The part of an audit that checks refunds and disputes.

    Args:
        store: The database.
        stripe: The client of Stripe's API.
        registry: The plugins.
        clock: Returns the present time.
        on_difference: Is called with each difference.
        on_checked: Is called with the kind of each object that was checked, and its `created`.
        on_too_recent: Is called with a kind and the number of objects that are too recent.
        account_uid: Check only this account.
        since: Compare with Stripe only what was created there since then.
    """

    def __init__(  # noqa: PLR0913 (collaborators, filters and callbacks)
        self,
        store: Store,
        stripe: StripeClient,
        registry: Registry,
        clock: Clock,
        *,
        on_difference: Callable[[Difference], None],
        on_checked: Callable[[str, int], None],
        on_too_recent: Callable[[str, int], None],
        account_uid: str | None = None,
        since: datetime | None = None,
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._registry = registry
        self._clock = clock
        self._on_difference = on_difference
        self._on_checked = on_checked
        self._on_too_recent = on_too_recent
        self._account_uid = account_uid
        self._since = since

    async def run(self, scratch: ScratchCollection) -> None:
        """Compare all refunds and disputes.

        Args:
            scratch: Stores the ids that Stripe lists.

        Raises:
            StripeUnavailable: Stripe does not answer.
            StoreUnavailable: The database does not answer.
        """
        since = self._since
        refunds = self._stripe.refund_pages(created_since=since)
        await self._check_stripe("refund", refunds, refund_reversal, scratch)
        disputes = self._stripe.dispute_pages(created_since=since)
        await self._check_stripe("dispute", disputes, dispute_reversal, scratch)
        async for payment_ids in self._store.reversals.reversed_payments():
            await self._check_ledger(payment_ids, scratch)

    async def _check_stripe(
        self,
        kind: str,
        pages: AsyncIterator[Sequence[StripeData]],
        reversal_of: Callable[[StripeData], Reversal],
        scratch: ScratchCollection,
    ) -> None:
        mismatches: dict[str, _Mismatch] = {}
        async for page in pages:
            await scratch.add([data["id"] for data in page])
            payment_of = {data["id"]: payment_intent_id_of(data) for data in page}
            payment_ids = [one for one in payment_of.values() if one]
            credited = await self._store.reversals.by_payments(payment_ids)
            held = _amounts(await self._store.reversals.rows_of(payment_ids))
            for data in page:
                top_up = credited.get(payment_of[data["id"]] or "")
                if top_up is None or not self._in_scope(top_up):
                    continue
                self._on_checked(kind, data["created"])
                if found := _mismatch(reversal_of(data), held[data["id"]], top_up):
                    mismatches[data["id"]] = found
        if mismatches:
            await self._report(kind, mismatches)

    def _in_scope(self, top_up: ReversedTopUp) -> bool:
        return self._account_uid in (None, top_up.entry.account_uid)

    async def _report(self, kind: str, mismatches: Mapping[str, _Mismatch]) -> None:
        """Report these, except those with a recent event, whose delivery may still arrive."""
        # The age of the object does not count: a dispute is decided, and a refund may fail, long
        # after it was created.
        recent: set[str] = set()
        undelivered: set[str] = set()
        now = self._clock()
        pages = self._stripe.event_pages(REVERSAL_EVENT_TYPES, created_since=now - EVENT_RETENTION)
        async for page in pages:
            for event in map(Event.model_validate, page):
                if event.object_id is None or event.object_id not in mismatches:
                    continue
                if event.created >= (now - GRACE_PERIOD).timestamp():
                    recent.add(event.object_id)
                elif await self._is_unfinished(event):
                    undelivered.add(event.object_id)
        self._on_too_recent(kind, len(recent))
        for object_id, found in mismatches.items():
            if object_id in recent:
                continue
            if found.payment_id is None:
                self._on_difference(Difference(kind, object_id, found.text))
                continue
            command = RECONCILE_COMMAND if object_id in undelivered else REPAIR_COMMAND
            self._on_difference(
                payment_difference(kind, object_id, found.text, found.payment_id, command=command)
            )

    async def _is_unfinished(self, event: Event) -> bool:
        """Return whether a reconciliation would run a plugin that moves money on the event."""
        runs = (await self._store.events.runs([event.id])).get(event.id, {})
        unfinished = {
            name for name in self._registry.money_on(event.type) if runs.get(name) not in HANDLED
        }
        if unfinished and all(runs.get(name) == REJECTED for name in unfinished):
            return await can_retry_rejection(self._store, event, unfinished)
        return bool(unfinished)

    async def _check_ledger(self, payment_ids: Sequence[str], scratch: ScratchCollection) -> None:
        rows_by_payment = _by_payment(await self._store.reversals.rows_of(payment_ids))
        top_ups = await self._store.reversals.by_payments(payment_ids)
        for payment_id in payment_ids:
            rows, top_up = rows_by_payment[payment_id], top_ups.get(payment_id)
            if not self._is_of_account(rows, top_up):
                continue
            await self._check_causes(payment_id, rows, scratch)
            if _inconsistency(top_up, rows):
                await self._recheck(payment_id)

    def _is_of_account(self, rows: Sequence[LedgerEntry], top_up: ReversedTopUp | None) -> bool:
        return (top_up is not None and self._in_scope(top_up)) or any(
            self._account_uid in (None, row.account_uid) for row in rows
        )

    async def _check_causes(
        self, payment_id: str, rows: Sequence[LedgerEntry], scratch: ScratchCollection
    ) -> None:
        """Report refunds and disputes that hold back an amount here and are not at Stripe."""
        held = _amounts(rows)
        unlisted = await scratch.missing(sorted(cause for cause, amount in held.items() if amount))
        for row in rows:
            if row.kind == "correction" or cause_of(row) not in unlisted:
                continue
            if not await self._is_at_stripe(row):
                text = f"{row.credits} credits, but Stripe has no {cause_of(row)}"
                self._on_difference(payment_difference("ledger", row.id, text, payment_id))

    async def _recheck(self, payment_id: str) -> None:
        """Read a payment's rows again, and report it if they still do not agree.

        The top-up and its reversals are read one after the other, and the payment may have been
        refunded between the two reads.
        """
        for number in range(_MAX_READS):
            top_up = (await self._store.reversals.by_payments([payment_id])).get(payment_id)
            rows = await self._store.reversals.rows_of([payment_id])
            text = _inconsistency(top_up, rows)
            if text is None:
                return
            if number == _MAX_READS - 1:
                self._on_difference(payment_difference("reversal", payment_id, text, payment_id))

    async def _is_at_stripe(self, row: LedgerEntry) -> bool:
        """Return whether Stripe has the cause of a row, created after the lists were read."""
        payment_id = row.reverses or ""
        listed = [
            *await self._stripe.list_refunds(payment_id),
            *await self._stripe.list_disputes(payment_id),
        ]
        return cause_of(row) in {data["id"] for data in listed}


def _mismatch(reversal: Reversal, held: int, top_up: ReversedTopUp) -> _Mismatch | None:
    """Return how a reversal at Stripe differs from the ledger, or None."""
    if reversal.incomparable_with(top_up.entry):
        text = (
            f"{reversal.amount} {reversal.currency} are held back, but the payment is in "
            f"{top_up.entry.currency}: decide which credits to take back"
        )
        return _Mismatch(text, None)
    if reversal.amount != held:
        return _Mismatch(f"amount: ledger {held}, Stripe {reversal.amount}", top_up.entry.id)
    if reversal.is_open is not (reversal.id in top_up.open_disputes):
        text = (
            "open at Stripe, but not here" if reversal.is_open else "open here, but not at Stripe"
        )
        return _Mismatch(text, top_up.entry.id)
    return None


def _amounts(rows: Sequence[LedgerEntry]) -> Counter[str]:
    """Return the amount that the rows hold back for each refund and dispute."""
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
    """Return how a top-up differs from the rows of its reversals, or None."""
    if top_up is None:
        credits = sum(row.credits for row in rows)
        return "reversed, but never credited" if credits or any(_amounts(rows).values()) else None
    other_accounts: Counter[str] = Counter()
    for row in rows:
        other_accounts[row.account_uid] += row.credits
    del other_accounts[top_up.entry.account_uid]
    if any(other_accounts.values()):
        return "a reversal is on another account"
    amounts = {cause: held for cause, held in _amounts(rows).items() if held}
    recorded = {cause: one.amount for cause, one in top_up.reversals.items() if one.amount}
    if amounts != recorded:
        return f"its reversal rows sum to {amounts}, but its top-up row says {recorded}"
    taken = -sum(row.credits for row in rows)
    expected = top_up.entry.taken_back(top_up.amount)
    return None if taken == expected else f"{taken} credits taken back instead of {expected}"
