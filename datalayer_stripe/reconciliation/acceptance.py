"""Credit a rejected payment by an operator's decision."""

import asyncio
from typing import NamedTuple

from pydantic import ValidationError

from ..billing.credit_status import CreditStatuses
from ..billing.metadata import read_top_up_metadata
from ..clock import Clock
from ..errors import AcceptanceRefused, AlreadyDone, ExpectationFailed
from ..events import PAYMENT_SUCCEEDED, Event
from ..models import Accepted, LedgerEntry, TopUp
from ..plugin_api.registry import Registry
from ..store import Store, UnitOfWork
from ..store.event_records import HANDLED, EventRecord
from ..store.marks import Mark
from ..stripe_api.client import StripeClient
from ..stripe_api.objects import StripeData, mapping_in
from .repair import Repairs, entry_of_top_up

# In seconds. Together longer than an election, after which a row is there or rolled back.
_READ_BACKOFF = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 4, 8)


class AcceptedPayment(NamedTuple):
    """The top-up that was credited. `is_new` is False if its ledger row existed before."""

    top_up: TopUp
    is_new: bool


class Acceptance:
    """Credits payments that a plugin has rejected. Use :meth:`.Service.acceptance` to create one.

    Args:
        store: The database.
        stripe: The client of Stripe's API.
        registry: The plugins.
        credit_statuses: Says whether a payment was credited, rejected or neither.
        repairs: Adds the ledger row.
        clock: Returns the present time.
    """

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
    ) -> AcceptedPayment:
        """Credit the payment of an event. Concurrent calls credit it once.

        Args:
            event_id: A `payment_intent.succeeded` event that was rejected, or that is done but
                whose payment was not credited.
            reason: The operator's reason. It is stored in the ledger row.
            account_uid: The account, for a payment whose metadata contains none.
            credits: The number of credits, for a payment whose metadata contains none.

        Returns:
            The top-up that was credited, now or before.

        Raises:
            AcceptanceRefused: The payment must not be credited.
            StripeObjectMissing: Neither the database nor Stripe has the event, or Stripe does not
                have the payment.
        """
        record = await self._store.events.get(event_id)
        event = await self._event(event_id, record)
        payment_id = event.object_id or ""
        intent = await self._stripe.retrieve_payment_intent(payment_id, with_charge=True)
        row = (await self._store.ledger.by_ids([payment_id])).get(payment_id)
        if row is not None:
            return await self._existing(row, event)
        self._check(record, intent)
        top_up = _top_up(intent, account_uid, credits)
        accepted = Accepted(account_uid=top_up.account_uid, credits=top_up.credits)
        repair = self._repairs.new_repair(f"accepted: {reason}")
        entry = entry_of_top_up(top_up, repair, accepted).model_copy(update={"event_id": event.id})
        operation = await self._repairs.operation(payment_id, top_up, entry, repair)
        try:
            await self._store.repair(operation)
        except ExpectationFailed:
            return await self._existing(await self._row_of_other_process(payment_id), event)
        await self._mark_done(event)
        return AcceptedPayment(top_up, is_new=True)

    async def _row_of_other_process(self, payment_id: str) -> LedgerEntry:
        """Return the ledger row that another process has just added.

        A transaction sees it before a majority has it, and a read outside of one sees it after.

        Raises:
            ExpectationFailed: The row does not appear. It was rolled back.
        """
        for seconds in _READ_BACKOFF:
            row = (await self._store.ledger.by_ids([payment_id])).get(payment_id)
            if row is not None:
                return row
            await asyncio.sleep(seconds)
        raise ExpectationFailed("the credits of another process were rolled back: run this again")

    async def _existing(self, row: LedgerEntry, event: Event) -> AcceptedPayment:
        """Return the top-up of an existing ledger row, which is not changed."""
        if row.accepted is not None:  # A process may have crashed before it marked the event.
            await self._mark_done(event)
        fields = row.model_dump() | {"payment_intent_id": row.id}
        return AcceptedPayment(TopUp.model_validate(fields), is_new=False)

    async def _event(self, event_id: str, record: EventRecord | None) -> Event:
        """Return the event from its record, or else from Stripe.

        Raises:
            AcceptanceRefused: It is not the event of a payment to this Stripe account.
            StripeObjectMissing: Stripe does not have it.
        """
        event = record.event if record else None
        if event is None:
            event = Event.model_validate(await self._stripe.retrieve_event(event_id))
        if event.type != PAYMENT_SUCCEEDED or event.account:
            raise AcceptanceRefused(
                f"{event_id} is not a {PAYMENT_SUCCEEDED} event of this Stripe account."
            )
        return event

    def _check(self, record: EventRecord | None, intent: StripeData) -> None:
        """Raise AcceptanceRefused unless the payment was rejected and Stripe holds its money."""
        if intent["status"] != "succeeded" or intent["amount_received"] < 1:
            raise AcceptanceRefused(
                f"{intent['id']} is not paid: its status is {intent['status']}."
            )
        if mapping_in(intent, "latest_charge").get("refunded"):
            raise AcceptanceRefused(
                f"{intent['id']} was refunded in full: there is nothing to credit."
            )
        status = self._credit_statuses.without_entry(record)
        if not (status.is_rejected or status.is_unrecorded):
            name = record.id if record else "EVENT_ID"
            raise AcceptanceRefused(
                f"{intent['id']} was not rejected. Run `datalayer-stripe events replay {name}`."
            )

    async def _mark_done(self, event: Event) -> None:
        """Mark the event as done for the plugins that add credits. It is safe to repeat."""
        for name in sorted(self._registry.money_on(PAYMENT_SUCCEEDED)):
            runs = (await self._store.events.runs([event.id])).get(event.id, {})
            if runs.get(name) in HANDLED:
                continue
            try:
                await self._store.commit(UnitOfWork(), Mark(event, name, self._clock()))
            except AlreadyDone:
                continue


def _top_up(intent: StripeData, account_uid: str | None, credits: int | None) -> TopUp:
    """Return the top-up to credit.

    Args:
        intent: The PaymentIntent. Its metadata has precedence.
        account_uid: The operator's account.
        credits: The operator's number of credits.

    Raises:
        AcceptanceRefused: Both are missing, or they differ.
    """
    metadata = read_top_up_metadata(intent)
    for option, stated, given in (
        ("--account", metadata.account_uid, account_uid),
        ("--credits", metadata.credits, credits),
    ):
        if stated is None and given is None:
            raise AcceptanceRefused(
                f"The metadata of {intent['id']} at Stripe is not complete: add {option}."
            )
        if None not in (stated, given) and stated != given:
            raise AcceptanceRefused(
                f"{option} is {given}, but the metadata at Stripe says {stated}: "
                f"leave {option} out."
            )
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
        fields = ", ".join(sorted({str(one["loc"][0]) for one in error.errors()}))
        raise AcceptanceRefused(
            f"{intent['id']} cannot be credited: these values are not valid: {fields}."
        ) from None
