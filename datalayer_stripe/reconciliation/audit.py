"""Prove that the books balance: with themselves, and with Stripe.

- Each account's balance is the sum of its ledger, and its debt the sum of its debts' rows.
- Each ledger row is of a kind that is known.
- Each ledger row of a top-up has its succeeded PaymentIntent, of the same account and credits.
- Each succeeded PaymentIntent with our metadata has its ledger row.
- What refunds and disputes took back is what they hold back at Stripe: see `audit_reversals`.

Everything is streamed, page by page and sorted by the database, so that a million rows need no
memory here.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ..billing.credit_status import CreditStatus, CreditStatuses
from ..billing.metadata import is_ours, read_top_up_metadata
from ..clock import Clock
from ..errors import StripeObjectMissing
from ..models import LedgerEntry
from ..plugin_api.registry import Registry
from ..store import Store
from ..store.audits import Balance, Seen
from ..stripe_api.client import StripeClient
from ..stripe_api.objects import StripeData, mapping_in, paid_at
from .audit_payments import mismatch
from .audit_reversals import ReversalAudit
from .differences import RECONCILE, REPAIR, Difference, RepairTarget, of_account, of_payment
from .sweeps import EVENTS_KEPT, IN_FLIGHT


@dataclass
class AuditReport:
    """How much was checked, how many differences there are, and by kind what was too young."""

    checked: Counter[str] = field(default_factory=Counter)
    young: Counter[str] = field(default_factory=Counter)
    differences: int = 0


class Audit:
    """One run. `on_difference` sees each difference at once.

    With `account_uid` only that account is looked at; with `since` only what Stripe has created
    since then is compared with Stripe.
    """

    def __init__(  # noqa: PLR0913 (collaborators, filters and callbacks)
        self,
        store: Store,
        stripe: StripeClient,
        registry: Registry,
        credit_statuses: CreditStatuses,
        clock: Clock,
        *,
        account_uid: str | None = None,
        since: datetime | None = None,
        on_difference: Callable[[Difference], None] = lambda _: None,
        on_progress: Callable[[str, int, int | None], None] = lambda *_: None,
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._registry = registry
        self._credit_statuses = credit_statuses
        self._clock = clock
        self._account_uid = account_uid
        self._since = since
        self._on_difference = on_difference
        self._on_progress = on_progress
        self._report = AuditReport()

    async def run(self) -> AuditReport:
        """Compare everything. Raises StripeUnavailable or StoreUnavailable."""
        await self._check_balances()
        await self._check_kinds()
        async with self._store.audits.scratch() as seen:
            pages = self._stripe.payment_intent_pages(created_since=self._since)
            async for page in pages:
                paid = [one for one in page if one["status"] == "succeeded" and is_ours(one)]
                await self._check_payments(paid)
                await seen.add([intent["id"] for intent in paid])
                self._count("payment", len(page))
            await self._check_rows(seen)
            reversals = ReversalAudit(
                self._store,
                self._stripe,
                self._registry,
                self._clock,
                differ=self._differ,
                count=self._count,
                young=self._count_young,
                account_uid=self._account_uid,
                since=self._since,
            )
            await reversals.run(seen)
        return self._report

    async def _check_balances(self) -> None:
        """Merge accounts and ledger sums, both in the order of the account's id."""
        if self._account_uid is not None:
            await self._check_account(self._account_uid)
            return
        async for account_uid, balance, total in _merged(
            self._store.audits.balances(), self._store.audits.ledger_sums()
        ):
            if balance == total:
                self._count("account", 1)
            else:  # or a payment came in between the two streams: look again
                await self._check_account(account_uid)

    async def _check_account(self, account_uid: str) -> None:
        self._count("account", 1)
        balance, total = await self._store.audits.balance_and_sum(account_uid)
        for name, word in (("credits", "balance"), ("debt", "debt")):
            held, due = getattr(balance, name), getattr(total, name)
            if held != due:
                text = f"the {word} is {held}, its ledger sums to {due}"
                self._differ(of_account(word, account_uid, text))

    async def _check_kinds(self) -> None:
        async for row in self._store.audits.unknown_rows():
            if self._account_uid not in (None, row.get("account_uid")):
                continue
            row_id = str(row["_id"])
            payment_id = row.get("reverses") or (row_id if _is_payment_id(row_id) else None)
            text = f"{row.get('credits')} credits, of the unknown kind {row.get('kind')!r}"
            target = RepairTarget("row", row_id, payment_id)
            self._differ(Difference("ledger", row_id, text, REPAIR, target))

    async def _check_payments(self, paid: Sequence[StripeData]) -> None:
        found = await self._store.audits.payment_rows([intent["id"] for intent in paid])
        for intent in paid:
            rows = found.get(intent["id"], [])
            if not self._in_scope(read_top_up_metadata(intent).account_uid, rows):
                continue
            if any(row.id == intent["id"] for row in rows):
                if problem := mismatch(intent["id"], intent, rows):
                    self._differ(of_payment("payment", intent["id"], problem, intent["id"]))
            else:
                await self._check_missing(intent)

    def _in_scope(self, account_uid: str | None, rows: Sequence[LedgerEntry]) -> bool:
        named = {account_uid, *(row.account_uid for row in rows)}
        return self._account_uid is None or self._account_uid in named

    async def _check_missing(self, intent: StripeData) -> None:
        """Judge a payment without its ledger row.

        A young one is judged if its event was rejected or is done: nothing is under way then, and
        a repair of the balance must not go by a ledger that lacks the row.
        """
        status = await self._credit_statuses.of_payment(intent["id"])
        if status.is_credited:
            return  # the row was added after the rows were read
        is_young = paid_at(intent) >= (self._clock() - IN_FLIGHT).timestamp()
        if is_young and not (status.is_rejected or status.is_unrecorded):
            self._count_young("payment", 1)
        elif difference := self._missing_row(intent, status):
            self._differ(difference)

    def _missing_row(self, intent: StripeData, status: CreditStatus) -> Difference | None:
        """Return what to say of a payment without its ledger row, and the command that heals it.

        None for one that was rejected and has been refunded in full: nothing is owed.
        """
        intent_id, kept = intent["id"], status.event
        if kept is None:
            text = "paid, and never delivered"
            since = ""
            if intent["created"] <= (self._clock() - EVENTS_KEPT).timestamp():
                since = f" --since {datetime.fromtimestamp(intent['created'], UTC):%Y-%m-%d}"
            return of_payment("payment", intent_id, text, intent_id, command=RECONCILE + since)
        if status.is_rejected:
            if mapping_in(intent, "latest_charge").get("refunded"):
                return None
            text = f"paid, and rejected: `datalayer-stripe events show {kept.id}` says why"
            command = f'datalayer-stripe events accept {kept.id} --reason "…"'
            return Difference("payment", intent_id, text, command)
        if status.is_unrecorded:
            text = f"paid, and without its ledger row, although {kept.id} is done"
            return of_payment("payment", intent_id, text, intent_id)
        command = f"datalayer-stripe events replay {kept.id}"
        return of_payment(
            "payment", intent_id, "paid, and not credited", intent_id, command=command
        )

    async def _check_rows(self, seen: Seen) -> None:
        """Check the ledger's top-ups whose payment was not in Stripe's list, by their ids."""
        async for page in seen.ledger_without():
            found = await self._store.audits.payment_rows([row.id for row in page])
            for row in page:
                rows = found.get(row.id, [row])
                if self._in_scope(None, rows) and self._is_recent(row):
                    await self._check_row(row, rows)

    def _is_recent(self, row: LedgerEntry) -> bool:
        return self._since is None or row.created_at >= self._since

    async def _check_row(self, row: LedgerEntry, rows: Sequence[LedgerEntry]) -> None:
        self._count("ledger row", 1)
        try:
            intent = await self._stripe.retrieve_payment_intent(row.id)
        except StripeObjectMissing:
            intent = None
        if problem := mismatch(row.id, intent, rows):
            self._differ(of_payment("ledger", row.id, problem, row.id))

    def _differ(self, difference: Difference) -> None:
        self._report.differences += 1
        self._on_difference(difference)

    def _count(self, kind: str, number: int) -> None:
        self._report.checked[kind] += number
        self._on_progress(kind, self._report.checked[kind], None)

    def _count_young(self, kind: str, number: int) -> None:
        self._report.young[kind] += number


def _is_payment_id(row_id: str) -> bool:
    """Return whether a row's id is a PaymentIntent's, and not that of a debt's row after one."""
    return row_id.startswith("pi_") and "-" not in row_id


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
