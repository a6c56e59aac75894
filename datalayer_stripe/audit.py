"""Prove that the books balance: with themselves, and with Stripe.

- Each account's balance is the sum of its ledger, and its debt the sum of its debts' rows.
- Each ledger row of a top-up has its succeeded PaymentIntent, of the same account and credits.
- Each succeeded PaymentIntent with our metadata has its ledger row.
- What refunds and disputes took back is what they hold back at Stripe: see `audit_reversals`.

Everything is streamed, page by page and sorted by the database, so that a million rows need no
memory here.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .audit_reversals import ReversalAudit
from .billing.topups import is_ours
from .clock import Clock
from .errors import StripeObjectMissing
from .models import LedgerEntry
from .reconcile import IN_FLIGHT
from .shapes import StripeData, metadata_of, whole_number
from .store import Store
from .store.audits import Balance
from .stripe_client import StripeClient


@dataclass(frozen=True)
class Difference:
    """One thing that does not fit, in words for the operator."""

    kind: str
    id: str
    explanation: str


@dataclass
class AuditReport:
    checked: Counter[str] = field(default_factory=Counter)
    differences: int = 0


class Audit:
    """One run. `on_difference` sees each difference at once."""

    def __init__(
        self,
        store: Store,
        stripe: StripeClient,
        clock: Clock,
        *,
        on_difference: Callable[[Difference], None] = lambda _: None,
        on_progress: Callable[[str, int, int | None], None] = lambda *_: None,
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._clock = clock
        self._on_difference = on_difference
        self._on_progress = on_progress
        self._report = AuditReport()

    async def run(self) -> AuditReport:
        """Compare everything. Raises StripeUnavailable or StoreUnavailable."""
        await self._check_balances()
        async with self._store.audits.scratch() as seen:
            async for page in self._stripe.payment_intent_pages():
                paid = [one for one in page if one["status"] == "succeeded" and is_ours(one)]
                await self._check_payments(paid)
                await seen.add([intent["id"] for intent in paid])
                self._count("payment", len(page))
            async for rows in seen.ledger_without():
                for row in rows:
                    await self._check_row(row)
            reversals = ReversalAudit(
                self._store, self._stripe, self._clock, differ=self._differ, count=self._count
            )
            await reversals.run(seen)
        return self._report

    async def _check_balances(self) -> None:
        """Merge accounts and ledger sums, both in the order of the account's id."""
        async for account_uid, listed, summed in _merged(
            self._store.audits.balances(), self._store.audits.ledger_sums()
        ):
            self._count("account", 1)
            balance, total = listed, summed
            if balance != total:  # or a payment came in between the two streams: look again
                balance, total = await self._store.audits.balance_and_sum(account_uid)
            for name, word in (("credits", "balance"), ("debt", "debt")):
                held, due = getattr(balance, name), getattr(total, name)
                if held != due:
                    self._differ(
                        word, account_uid, f"the {word} is {held}, its ledger sums to {due}"
                    )

    async def _check_payments(self, paid: Sequence[StripeData]) -> None:
        rows = await self._store.ledger.by_ids([intent["id"] for intent in paid])
        for intent in paid:
            row = rows.get(intent["id"])
            if row is None:
                if intent["created"] < (self._clock() - IN_FLIGHT).timestamp():
                    self._differ("payment", intent["id"], await self._why_missing(intent))
            elif problem := _mismatch(intent, row):
                self._differ("payment", intent["id"], problem)

    async def _why_missing(self, intent: StripeData) -> str:
        kept = await self._store.events.of_object(intent["id"], "payment_intent.succeeded")
        if kept is None:
            return "paid, and never delivered: `datalayer-stripe reconcile` adds its credits"
        if kept.rejected:
            return f"paid, and rejected: `datalayer-stripe events show {kept.id}` says why"
        return f"paid, and not credited: try `datalayer-stripe events replay {kept.id}`"

    async def _check_row(self, row: LedgerEntry) -> None:
        """A ledger row whose payment was not in Stripe's list: ask for it by its id."""
        self._count("ledger row", 1)
        try:
            intent = await self._stripe.retrieve_payment_intent(row.id)
        except StripeObjectMissing:
            self._differ("ledger", row.id, f"{row.credits} credits, and Stripe has no such payment")
            return
        if problem := _mismatch(intent, row):
            self._differ("ledger", row.id, problem)

    def _differ(self, kind: str, object_id: str, explanation: str) -> None:
        self._report.differences += 1
        self._on_difference(Difference(kind, object_id, explanation))

    def _count(self, kind: str, number: int) -> None:
        self._report.checked[kind] += number
        self._on_progress(kind, self._report.checked[kind], None)


def _mismatch(intent: StripeData, row: LedgerEntry) -> str | None:
    """What a payment and its ledger row disagree on, in words, or None."""
    metadata = metadata_of(intent)
    theirs: dict[str, Any] = {
        "status": intent["status"],
        "account": metadata.get("account_uid"),
        "credits": whole_number(metadata.get("credits")),
        "amount": intent["amount_received"],
        "currency": intent["currency"],
    }
    ours = {
        "status": "succeeded",
        "account": row.account_uid,
        "credits": row.credits,
        "amount": row.amount,
        "currency": row.currency,
    }
    different = [name for name in ours if ours[name] != theirs[name]]
    if not different:
        return None
    said = (f"{name}: ledger {ours[name]}, Stripe {theirs[name]}" for name in different)
    return "; ".join(said)


async def _merged(
    balances: AsyncIterator[tuple[str, Balance]], sums: AsyncIterator[tuple[str, Balance]]
) -> AsyncIterator[tuple[str, Balance, Balance]]:
    """Two streams that are sorted by account, as one: account, balance, sum; 0 where missing."""
    left, right = await _next(balances), await _next(sums)
    while left or right:
        account_uid = min(one[0] for one in (left, right) if one)
        balance = total = Balance()
        if left and left[0] == account_uid:
            balance, left = left[1], await _next(balances)
        if right and right[0] == account_uid:
            total, right = right[1], await _next(sums)
        yield account_uid, balance, total


async def _next(stream: AsyncIterator[tuple[str, Balance]]) -> tuple[str, Balance] | None:
    try:
        return await anext(stream)
    except StopAsyncIteration:
        return None
