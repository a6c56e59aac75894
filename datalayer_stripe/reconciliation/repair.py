"""Repair the differences that an audit has found.

Balances are set to the sum of the ledger, and the ledger is corrected to what Stripe reports. A
repair adds rows to the ledger, and never changes one.
"""

import uuid
from collections.abc import Awaitable, Callable, Sequence

from ..billing.reversals import Reversals
from ..billing.top_ups import TopUps
from ..clock import Clock
from ..errors import ExpectationFailed, Reject, StripeObjectMissing
from ..models import Accepted, LedgerEntry, TopUp
from ..store import Store
from ..store.corrections import ExpectedPayment
from ..store.repairs import Repair, RepairBalance, RepairPayment, RepairUnknownRow
from ..store.unit_of_work import Operation
from ..stripe_api.client import StripeClient
from .audit_payments import expected_top_up
from .differences import RepairTarget

# How often a repair that conflicts with concurrent writes is computed.
_MAX_ATTEMPTS = 5


class Repairs:
    """Repairs of one run. The `event_id` of their ledger rows is the id of the run.

    Args:
        store: The database.
        stripe: The client of Stripe's API.
        topups: Reads top-ups from PaymentIntents.
        reversals: Reads refunds and disputes.
        clock: Returns the present time.
        floor_balances: Whether taking credits back leaves a debt instead of a negative balance.
    """

    def __init__(
        self,
        store: Store,
        stripe: StripeClient,
        topups: TopUps,
        reversals: Reversals,
        clock: Clock,
        *,
        floor_balances: bool,
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._topups = topups
        self._reversals = reversals
        self._clock = clock
        self._floor = floor_balances
        self._id = f"repair-{uuid.uuid4().hex[:12]}"

    async def repair(self, target: RepairTarget) -> None:
        """Repair what differs now. Does nothing if it was corrected meanwhile.

        Args:
            target: What to repair.

        Raises:
            Reject: The payment fails a check. The error has the reason.
            ExpectationFailed: Each attempt conflicted with a concurrent write of the same rows.
            StripeUnavailable: Stripe does not answer.
            StoreUnavailable: The database does not answer.
        """
        if target.what == "account":
            await self._repair_balance(target.id)
            return
        if target.what == "row":
            has_payment = target.payment_intent_id is not None

            async def reverse_row() -> Operation:
                repair = self.new_repair("audit: unknown kind")
                return RepairUnknownRow(target.id, repair, has_payment)

            await self._commit(reverse_row)
        payment_id = target.id if target.what == "payment" else target.payment_intent_id
        if payment_id is not None:
            await self._repair_payment(payment_id)

    async def _repair_balance(self, account_uid: str) -> None:
        """Set a balance and a debt to the sums of the ledger."""

        async def set_balance() -> Operation:
            return RepairBalance(account_uid, self.new_repair("audit"))

        await self._commit(set_balance)

    async def _repair_payment(self, payment_id: str) -> None:
        """Correct a payment's rows to what Stripe reports now."""

        async def correct_rows() -> Operation:
            return await self._payment_repair(payment_id)

        await self._commit(correct_rows)

    async def _payment_repair(self, payment_id: str) -> Operation:
        """Read a payment and its rows, and return the write that corrects the rows."""
        try:
            intent = await self._stripe.retrieve_payment_intent(payment_id)
        except StripeObjectMissing:
            intent = None
        rows = (await self._store.audits.payment_rows([payment_id])).get(payment_id, [])
        row = next((one for one in rows if one.id == payment_id), None)
        entry = None
        if row is not None:
            repair = self.new_repair("audit: differs from Stripe")
            top_up = expected_top_up(intent, row)
        else:
            repair = self.new_repair("audit: the ledger row was missing")
            paid = intent is not None and intent["status"] == "succeeded"
            top_up = await self._topups.from_payment_intent(intent) if intent and paid else None
            entry = entry_of_top_up(top_up, repair) if top_up else None
        return await self.operation(payment_id, top_up, entry, repair)

    async def operation(
        self, payment_id: str, top_up: TopUp | None, entry: LedgerEntry | None, repair: Repair
    ) -> RepairPayment:
        """Read a payment's refunds and disputes, and return the write that corrects its rows.

        Args:
            payment_id: The PaymentIntent's id.
            top_up: What the payment has bought; None if nothing.
            entry: The ledger row to insert; None if it exists.
            repair: The reason and the time.
        """
        # The ticket is taken before the read, so that a later read has a higher ticket.
        taken = await self._store.reversals.take_ticket(payment_id, any_kind=True)
        reversals = await self._reversals.list_for_payment(payment_id) if top_up else ()
        expected = ExpectedPayment(payment_intent_id=payment_id, top_up=top_up, reversals=reversals)
        return RepairPayment(expected, entry, taken[1] if taken else None, repair)

    def new_repair(self, reason: str) -> Repair:
        """Return the reason and the present time, as a repair of this run."""
        return Repair(self._id, reason, self._clock(), self._floor)

    async def _commit(self, operation: Callable[[], Awaitable[Operation]]) -> None:
        for attempt in range(1, _MAX_ATTEMPTS + 1):
            try:
                await self._store.repair(await operation())
            except ExpectationFailed:
                if attempt == _MAX_ATTEMPTS:
                    raise
            else:
                return


def entry_of_top_up(top_up: TopUp, repair: Repair, accepted: Accepted | None = None) -> LedgerEntry:
    """Return the ledger row that a repair adds for a top-up.

    Args:
        top_up: The top-up.
        repair: The reason and the time.
        accepted: The operator's decision, if an operator has accepted the payment.
    """
    return LedgerEntry(
        id=top_up.payment_intent_id,
        kind="top-up",
        event_id=repair.cause,
        created_at=repair.at,
        reason=repair.reason,
        accepted=accepted,
        **top_up.model_dump(exclude={"payment_intent_id"}),
    )


async def repair_all(
    repairs: Repairs, targets: Sequence[RepairTarget]
) -> dict[RepairTarget, str | None]:
    """Repair each target.

    Args:
        repairs: Repairs the targets.
        targets: The targets of the differences that an audit has found.

    Returns:
        For each target, why it was not repaired, or None if it was.

    Raises:
        StripeUnavailable: Stripe does not answer.
        StoreUnavailable: The database does not answer.
    """
    outcomes: dict[RepairTarget, str | None] = {}
    # Balances are repaired first, so that debts are right when rows are added. They are repaired
    # again at the end, because a row of a debt may have been corrected to another kind.
    order = {"account": 0, "row": 1, "payment": 2}
    accounts = [one for one in targets if one.what == "account"]
    for target in [*sorted(set(targets), key=lambda one: (order[one.what], one.id)), *accounts]:
        try:
            await repairs.repair(target)
            outcomes[target] = None
        except Reject as signal:
            outcomes[target] = signal.reason
        except ExpectationFailed:
            outcomes[target] = "other processes write the same rows: run it again"
    return outcomes
