"""Put right what an audit has found: by further ledger rows, and never by changing one.

The ledger is the truth for balances, Stripe is the truth for the ledger.
"""

import uuid
from collections.abc import Awaitable, Callable, Sequence

from ..billing.reversals import Reversals
from ..billing.top_ups import TopUps
from ..clock import Clock
from ..errors import ExpectationFailed, Reject, StripeObjectMissing
from ..models import Accepted, LedgerEntry, TopUp
from ..store import Store
from ..store.corrections import Due
from ..store.repairs import Repair, RepairBalance, RepairPayment, RepairUnknownRow
from ..store.unit_of_work import Operation
from ..stripe_api.client import StripeClient
from .audit_payments import bought
from .differences import RepairTarget

# How often a repair is made again that has met another one.
_ATTEMPTS = 5


class Repairs:
    """Repairs of one run, which all carry its id as `event_id` in their rows.

    `floor_balances`: whether what is taken back leaves a debt rather than a balance below zero.
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
        """Put right what is found at the target now, which may be nothing any more.

        Raises:
            Reject: the payment fails a check, with the reason.
            ExpectationFailed: others have written the same rows again and again.
            StripeUnavailable: Stripe does not answer.
            StoreUnavailable: the database does not answer.
        """
        if target.what == "account":
            await self.balance(target.id)
            return
        if target.what == "row":
            belongs = target.payment_intent_id is not None

            async def take_back() -> Operation:
                return RepairUnknownRow(target.id, self.because("audit: unknown kind"), belongs)

            await self._commit(take_back)
        payment_id = target.id if target.what == "payment" else target.payment_intent_id
        if payment_id is not None:
            await self._payment(payment_id)

    async def balance(self, account_uid: str) -> None:
        """Set a balance and a debt to what the ledger sums to."""

        async def set_balance() -> Operation:
            return RepairBalance(account_uid, self.because("audit"))

        await self._commit(set_balance)

    async def _payment(self, payment_id: str) -> None:
        """Let a payment's rows sum to what Stripe says now."""

        async def look() -> Operation:
            return await self._look(payment_id)

        await self._commit(look)

    async def _look(self, payment_id: str) -> Operation:
        """Look at Stripe and at the rows, and return the write that follows."""
        try:
            intent = await self._stripe.retrieve_payment_intent(payment_id)
        except StripeObjectMissing:
            intent = None
        rows = (await self._store.audits.payment_rows([payment_id])).get(payment_id, [])
        row = next((one for one in rows if one.id == payment_id), None)
        entry = None
        if row is not None:
            repair = self.because("audit: differs from Stripe")
            top_up = bought(intent, row)
        else:
            repair = self.because("audit: paid, and without its ledger row")
            paid = intent is not None and intent["status"] == "succeeded"
            top_up = await self._topups.from_payment_intent(intent) if intent and paid else None
            entry = entry_of_top_up(top_up, repair) if top_up else None
        return await self.operation(payment_id, top_up, entry, repair)

    async def operation(
        self, payment_id: str, top_up: TopUp | None, entry: LedgerEntry | None, repair: Repair
    ) -> RepairPayment:
        """Look at a payment's refunds and disputes, and return the write that follows them."""
        # The ticket before the look: a look that began later knows more.
        taken = await self._store.reversals.take_ticket(payment_id, any_kind=True)
        reversals = await self._reversals.list_for_payment(payment_id) if top_up else ()
        due = Due(payment_intent_id=payment_id, top_up=top_up, reversals=reversals)
        return RepairPayment(due, entry, taken[1] if taken else None, repair)

    def because(self, reason: str) -> Repair:
        """Return a repair of this run that begins now."""
        return Repair(self._id, reason, self._clock(), self._floor)

    async def _commit(self, operation: Callable[[], Awaitable[Operation]]) -> None:
        for last in (False,) * (_ATTEMPTS - 1) + (True,):
            try:
                await self._store.repair(await operation())
            except ExpectationFailed:
                if last:
                    raise
            else:
                return


def entry_of_top_up(top_up: TopUp, repair: Repair, accepted: Accepted | None = None) -> LedgerEntry:
    """Return the ledger row of a top-up that a repair adds."""
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
    """Put right each target once, and return for each why it was not, or None."""
    done: dict[RepairTarget, str | None] = {}
    # Balances first, so that debts are right when rows are added; and again, since a row that
    # counts as another kind now may have been one of a debt.
    order = {"account": 0, "row": 1, "payment": 2}
    accounts = [one for one in targets if one.what == "account"]
    for target in [*sorted(set(targets), key=lambda one: (order[one.what], one.id)), *accounts]:
        try:
            await repairs.repair(target)
            done[target] = None
        except Reject as signal:
            done[target] = signal.reason
        except ExpectationFailed:
            done[target] = "others write the same rows: run it again"
    return done
