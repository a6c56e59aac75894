"""Check that the ledger agrees with the balances and with Stripe.

- Each account's balance and debt are the sums of its ledger: see `audit_balances`.
- Each ledger row is of a known kind.
- Each ledger row of a top-up has a succeeded PaymentIntent with the same account and credits.
- Each succeeded PaymentIntent with the service's metadata has a ledger row.
- The credits taken back match the refunds and disputes at Stripe: see `audit_reversals`.

Both sides are read page by page, sorted by the database, so that the memory used does not depend on
the number of rows.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ..billing.credit_status import CreditStatus, CreditStatuses
from ..billing.metadata import is_ours, read_top_up_metadata
from ..clock import Clock
from ..errors import StripeObjectMissing
from ..models import LedgerEntry
from ..plugin_api.registry import Registry
from ..store import Store
from ..store.audits import ScratchCollection
from ..stripe_api.client import StripeClient
from ..stripe_api.objects import StripeData, mapping_in, paid_at
from .audit_balances import BalanceAudit
from .audit_payments import mismatch
from .audit_reversals import ReversalAudit
from .differences import (
    RECONCILE_COMMAND,
    REPAIR_COMMAND,
    Difference,
    RepairTarget,
    payment_difference,
)
from .findings import EVENT_RETENTION, GRACE_PERIOD


@dataclass
class AuditReport:
    """Counts of one audit.

    Attributes:
        checked: The number of objects that were checked, by kind.
        too_recent: The number of objects that are younger than GRACE_PERIOD, by kind.
        differences: The number of differences.
    """

    checked: Counter[str] = field(default_factory=Counter)
    too_recent: Counter[str] = field(default_factory=Counter)
    differences: int = 0


class Audit:
    """One audit. Use :meth:`.Service.audit` to create one.

    Args:
        store: The database.
        stripe: The client of Stripe's API.
        registry: The plugins.
        credit_statuses: Says whether a payment was credited, rejected or neither.
        clock: Returns the present time.
        account_uid: Check only this account.
        since: Compare with Stripe only what was created there since then.
        on_difference: Is called with each difference.
        on_progress: Is called after each object or page with the kind, the number of objects of
            this kind that were checked, and the part of this kind that is done, from 0 to 1; None
            if it is not known. Stripe's lists have no total: their part is that of the time back
            to `since`, or else to the oldest ledger row.
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
        on_progress: Callable[[str, int, float | None], None] = lambda *_: None,
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
        self._oldest = since

    async def run(self) -> AuditReport:
        """Compare everything.

        Returns:
            The report.

        Raises:
            StripeUnavailable: Stripe does not answer.
            StoreUnavailable: The database does not answer.
        """
        await self._check_balances()
        await self._check_kinds()
        if self._oldest is None:
            self._oldest = await self._store.audits.oldest_row_at()
        async with self._store.audits.scratch_collection() as scratch:
            pages = self._stripe.payment_intent_pages(created_since=self._since)
            async for page in pages:
                paid = [one for one in page if one["status"] == "succeeded" and is_ours(one)]
                await self._check_payments(paid)
                await scratch.add([intent["id"] for intent in paid])
                created = page[-1]["created"] if page else 0
                self._count("payment", len(page), self._part_done(created))
            await self._check_rows(scratch)
            await self._check_reversals(scratch)
        return self._report

    async def _check_balances(self) -> None:
        balances = BalanceAudit(
            self._store,
            on_difference=self._report_difference,
            on_checked=lambda part_done: self._count("account", 1, part_done),
            account_uid=self._account_uid,
        )
        await balances.run()

    async def _check_reversals(self, scratch: ScratchCollection) -> None:
        reversals = ReversalAudit(
            self._store,
            self._stripe,
            self._registry,
            self._clock,
            on_difference=self._report_difference,
            on_checked=lambda kind, created: self._count(kind, 1, self._part_done(created)),
            on_too_recent=self._count_too_recent,
            account_uid=self._account_uid,
            since=self._since,
        )
        await reversals.run(scratch)

    async def _check_kinds(self) -> None:
        async for row in self._store.audits.unknown_rows():
            if self._account_uid not in (None, row.get("account_uid")):
                continue
            row_id = str(row["_id"])
            payment_id = row.get("reverses") or (row_id if _is_payment_id(row_id) else None)
            text = f"{row.get('credits')} credits, of the unknown kind {row.get('kind')!r}"
            target = RepairTarget("row", row_id, payment_id)
            self._report_difference(Difference("ledger", row_id, text, REPAIR_COMMAND, target))

    async def _check_payments(self, paid: Sequence[StripeData]) -> None:
        found = await self._store.audits.payment_rows([intent["id"] for intent in paid])
        for intent in paid:
            rows = found.get(intent["id"], [])
            if not self._in_scope(read_top_up_metadata(intent).account_uid, rows):
                continue
            if _has_top_up_row(intent["id"], rows):
                self._compare(intent, rows)
            else:
                await self._check_missing_row(intent)

    def _compare(self, intent: StripeData, rows: Sequence[LedgerEntry]) -> None:
        if text := mismatch(intent["id"], intent, rows):
            self._report_difference(payment_difference("payment", intent["id"], text, intent["id"]))

    def _in_scope(self, account_uid: str | None, rows: Sequence[LedgerEntry]) -> bool:
        account_uids = {account_uid, *(row.account_uid for row in rows)}
        return self._account_uid is None or self._account_uid in account_uids

    async def _check_missing_row(self, intent: StripeData) -> None:
        """Report a payment without its ledger row, unless it is too recent to be checked.

        A payment whose event was rejected or is done is judged at any age, because no processing is
        pending. If it were not judged, a repair would set the balance to a sum without its row.
        """
        intent_id = intent["id"]
        status = await self._credit_statuses.of_payment(intent_id)
        if status.is_credited:
            # Either the row was added after the rows were read, or it is damaged so that it no
            # longer counts as the top-up's row.
            rows = (await self._store.audits.payment_rows([intent_id])).get(intent_id, [])
            if _has_top_up_row(intent_id, rows):
                self._compare(intent, rows)
                return
            status = self._credit_statuses.without_entry(status.event)
        is_young = paid_at(intent) >= (self._clock() - GRACE_PERIOD).timestamp()
        if is_young and not (status.is_rejected or status.is_unrecorded):
            self._count_too_recent("payment", 1)
        elif difference := self._missing_row(intent, status):
            self._report_difference(difference)

    def _missing_row(self, intent: StripeData, status: CreditStatus) -> Difference | None:
        """Return the difference of a payment without its ledger row.

        Returns:
            The difference, or None if the payment was rejected and has been refunded in full.
        """
        intent_id, record = intent["id"], status.event
        if record is None:
            text = "paid, but its event was never delivered"
            since = ""
            if intent["created"] <= (self._clock() - EVENT_RETENTION).timestamp():
                since = f" --since {datetime.fromtimestamp(intent['created'], UTC):%Y-%m-%d}"
            command = RECONCILE_COMMAND + since
            return payment_difference("payment", intent_id, text, intent_id, command=command)
        if status.is_rejected:
            if mapping_in(intent, "latest_charge").get("refunded"):
                return None
            text = f"paid, but rejected: `datalayer-stripe events show {record.id}` says why"
            return Difference("payment", intent_id, text, _accept_command(record.id, intent))
        if status.is_unrecorded:
            text = f"paid and its event {record.id} is done, but its ledger row is missing"
            return payment_difference("payment", intent_id, text, intent_id)
        command = f"datalayer-stripe events replay {record.id}"
        return payment_difference(
            "payment", intent_id, "paid, but not credited", intent_id, command=command
        )

    async def _check_rows(self, scratch: ScratchCollection) -> None:
        """Check the ledger's top-ups whose payment was not in Stripe's list, by their ids."""
        async for page in scratch.other_top_ups():
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
        if text := mismatch(row.id, intent, rows):
            self._report_difference(payment_difference("ledger", row.id, text, row.id))

    def _report_difference(self, difference: Difference) -> None:
        self._report.differences += 1
        self._on_difference(difference)

    def _count(self, kind: str, number: int, part_done: float | None = None) -> None:
        self._report.checked[kind] += number
        self._on_progress(kind, self._report.checked[kind], part_done)

    def _part_done(self, created: int) -> float | None:
        """Return the part of a list of Stripe's that ends with an object that was created then."""
        if self._oldest is None:
            return None
        now = self._clock()
        length = (now - self._oldest).total_seconds()
        return min((now.timestamp() - created) / length, 1.0) if length > 0 else None

    def _count_too_recent(self, kind: str, number: int) -> None:
        self._report.too_recent[kind] += number


def _is_payment_id(row_id: str) -> bool:
    """Return whether a row's id is a PaymentIntent's, and not `pi_…-debt` of a debt's row."""
    return row_id.startswith("pi_") and "-" not in row_id


def _has_top_up_row(payment_id: str, rows: Sequence[LedgerEntry]) -> bool:
    return any(row.id == payment_id for row in rows)


def _accept_command(event_id: str, intent: StripeData) -> str:
    """Return the command that accepts a payment, with the options that its metadata lacks."""
    metadata = read_top_up_metadata(intent)
    command = f'datalayer-stripe events accept {event_id} --reason "…"'
    if metadata.account_uid is None:
        command += " --account UID"
    return command if metadata.credits is not None else f"{command} --credits N"
