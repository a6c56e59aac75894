"""Credit one payment that was rejected, because an operator has decided so."""

from typing import NamedTuple

from pydantic import ValidationError

from ..billing.credit_status import CreditStatuses
from ..billing.metadata import read_top_up_metadata
from ..clock import Clock
from ..errors import DatalayerStripeError, ExpectationFailed
from ..events import PAYMENT_SUCCEEDED, Event
from ..models import Accepted, LedgerEntry, TopUp
from ..plugin_api.registry import Registry
from ..store import Store, UnitOfWork
from ..store.events import HANDLED, AlreadyDone, EventRecord, Mark
from ..stripe_api.client import StripeClient
from ..stripe_api.objects import StripeData, mapping_in
from .repair import Repairs, entry_of_top_up


class NotAcceptable(DatalayerStripeError):
    """The payment must not be credited by hand, and why."""


class Verdict(NamedTuple):
    """What was credited. `is_new` is False where its ledger row had been there before."""

    top_up: TopUp
    is_new: bool


class Acceptance:
    """Use :meth:`.Service.acceptance` to make one."""

    def __init__(
        self,
        store: Store,
        stripe: StripeClient,
        registry: Registry,
        credit_statuses: CreditStatuses,
        repairs: Repairs,
        clock: Clock,
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._registry = registry
        self._credit_statuses = credit_statuses
        self._repairs = repairs
        self._clock = clock

    async def accept(
        self,
        event_id: str,
        reason: str,
        *,
        account_uid: str | None = None,
        credits: int | None = None,
    ) -> Verdict:
        """Credit the payment of an event once, whoever else does so at the same time.

        Args:
            event_id: a `payment_intent.succeeded` that was rejected, or is done without credits.
            reason: is kept in the ledger row.
            account_uid: for a payment whose metadata names no account.
            credits: for a payment whose metadata holds no number of credits.

        Raises:
            NotAcceptable: the payment must not be credited by hand.
            StripeObjectMissing: neither we nor Stripe have the event, or Stripe not the payment.
        """
        kept = await self._store.events.get(event_id)
        event = await self._event(event_id, kept)
        payment_id = event.object_id or ""
        intent = await self._stripe.retrieve_payment_intent(payment_id, with_charge=True)
        row = (await self._store.ledger.by_ids([payment_id])).get(payment_id)
        if row is not None:
            return await self._credited_before(row, event)
        self._check(kept, intent)
        top_up = _decided(intent, account_uid, credits)
        accepted = Accepted(account_uid=top_up.account_uid, credits=top_up.credits)
        repair = self._repairs.because(f"accepted: {reason}")
        entry = entry_of_top_up(top_up, repair, accepted).model_copy(update={"event_id": event.id})
        operation = await self._repairs.operation(payment_id, top_up, entry, repair)
        try:
            await self._store.repair(operation)
        except ExpectationFailed:
            row = (await self._store.ledger.by_ids([payment_id])).get(payment_id)
            if row is None:
                raise
            return await self._credited_before(row, event)
        await self._finish(event)
        return Verdict(top_up, is_new=True)

    async def _credited_before(self, row: LedgerEntry, event: Event) -> Verdict:
        """Return what somebody else has credited, which stays as it is."""
        if row.accepted is not None:  # a process may have ended before it had finished the event
            await self._finish(event)
        fields = row.model_dump() | {"payment_intent_id": row.id}
        return Verdict(TopUp.model_validate(fields), is_new=False)

    async def _event(self, event_id: str, kept: EventRecord | None) -> Event:
        event = kept.event if kept else None
        if event is None:
            event = Event.model_validate(await self._stripe.retrieve_event(event_id))
        if event.type != PAYMENT_SUCCEEDED or event.account:
            raise NotAcceptable(f"{event_id} is no {PAYMENT_SUCCEEDED} of this Stripe account.")
        return event

    def _check(self, kept: EventRecord | None, intent: StripeData) -> None:
        """Raise NotAcceptable unless a person has to decide on it, and the money is there."""
        if intent["status"] != "succeeded" or intent["amount_received"] < 1:
            raise NotAcceptable(f"{intent['id']} is not paid: its status is {intent['status']}.")
        if mapping_in(intent, "latest_charge").get("refunded"):
            raise NotAcceptable(f"{intent['id']} was refunded in full.")
        status = self._credit_statuses.without_entry(kept)
        if not (status.is_rejected or status.is_unrecorded):
            name = kept.id if kept else "EVENT_ID"
            raise NotAcceptable(
                f"{intent['id']} was not rejected. Run `datalayer-stripe events replay {name}`."
            )

    async def _finish(self, event: Event) -> None:
        """Mark the event as done for the plugins that add credits. Safe to repeat."""
        for name in sorted(self._registry.money_on(PAYMENT_SUCCEEDED)):
            runs = (await self._store.events.runs([event.id])).get(event.id, {})
            if runs.get(name) in HANDLED:
                continue
            try:
                await self._store.commit(UnitOfWork(), Mark(event, name, self._clock()))
            except AlreadyDone:
                continue


def _decided(intent: StripeData, account_uid: str | None, credits: int | None) -> TopUp:
    """Return what is to be credited: what the metadata says, else what the operator says."""
    metadata = read_top_up_metadata(intent)
    for option, stated, given in (
        ("--account", metadata.account_uid, account_uid),
        ("--credits", metadata.credits, credits),
    ):
        if stated is None and given is None:
            raise NotAcceptable(f"{intent['id']} does not say it at Stripe: add {option}.")
        if None not in (stated, given) and stated != given:
            raise NotAcceptable(f"{option} {given} is not what Stripe says: {stated}.")
    try:
        return TopUp.model_validate(
            {
                "payment_intent_id": intent["id"],
                "account_uid": metadata.account_uid or account_uid,
                "credits": metadata.credits if metadata.credits is not None else credits,
                "price_id": metadata.price_id or "",
                "amount": intent["amount_received"],
                "currency": intent["currency"],
            }
        )
    except ValidationError as error:
        faults = ", ".join(sorted({str(one["loc"][0]) for one in error.errors()}))
        raise NotAcceptable(f"{intent['id']} cannot be credited: {faults}.") from None
