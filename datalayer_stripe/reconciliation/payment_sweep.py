"""Credit succeeded payments that have no ledger row."""

from collections.abc import AsyncIterator
from datetime import datetime

from ..billing.credit_status import CreditStatuses
from ..billing.metadata import CREDITS, is_ours
from ..clock import Clock
from ..events import PAYMENT_SUCCEEDED
from ..store import Store
from ..store.event_records import DEFERRED
from ..stripe_api.client import StripeClient
from ..stripe_api.objects import StripeData, metadata_of, paid_at, with_charge_id
from .differences import REPAIR_COMMAND
from .findings import EVENT_RETENTION, NEEDS_REPAIR, Finding, Reporter
from .redelivery import Redelivery, synthetic_event


class PaymentSweep:
    """Sweep of the succeeded PaymentIntents with the metadata of the service.

    Args:
        store: The database.
        stripe: The client of Stripe's API.
        credit_statuses: Says whether a payment was credited, rejected or neither.
        clock: Returns the present time.
        redelivery: Processes the events of the payments.
        reporter: Gets the findings.
    """

    def __init__(
        self,
        store: Store,
        stripe: StripeClient,
        credit_statuses: CreditStatuses,
        clock: Clock,
        redelivery: Redelivery,
        reporter: Reporter,
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._credit_statuses = credit_statuses
        self._clock = clock
        self._redelivery = redelivery
        self._reporter = reporter

    async def uncredited(self, since: datetime) -> AsyncIterator[StripeData]:
        """Yield the succeeded PaymentIntents created since then that have no ledger row."""
        pages = self._stripe.payment_intent_pages(created_since=since)
        async for page in self._reporter.track("payment", pages):
            paid = [one for one in page if one["status"] == "succeeded" and is_ours(one)]
            credited = await self._store.ledger.existing_ids([intent["id"] for intent in paid])
            for intent in paid:
                if intent["id"] not in credited:
                    yield intent

    async def process(self, intent: StripeData) -> None:
        """Process the event of a payment, unless it was credited or rejected meanwhile.

        Args:
            intent: A PaymentIntent that :meth:`uncredited` has yielded.
        """
        intent_id = intent["id"]
        status = await self._credit_statuses.of_payment(intent_id)
        if status.is_credited:
            return
        record = status.event
        runs = {name: run.status for name, run in record.handlers.items()} if record else {}
        unfinished = self._redelivery.unfinished_plugins(PAYMENT_SUCCEEDED, runs)
        if DEFERRED in runs.values() and not unfinished:
            return  # A worker runs the job.
        detail = f"{metadata_of(intent).get(CREDITS)} credits"
        if record and not unfinished:
            await self._report_missing_row(intent_id, detail)
            return
        if record and self._redelivery.is_rejected(PAYMENT_SUCCEEDED, unfinished, runs):
            self._reporter.report.rejected += 1
            return
        if self._is_event_listed(intent) and not (record or self._redelivery.dry_run):
            # The next run finds the payment's own event. A synthetic event, which has another id,
            # would run the plugins twice.
            return
        if self._redelivery.is_too_recent("payment", paid_at(intent)):
            return
        event_id = record.id if record else f"reconciled-{intent_id}"
        event = synthetic_event(event_id, PAYMENT_SUCCEEDED, with_charge_id(intent))
        await self._redelivery.redeliver("payment", intent_id, detail, event, runs)

    async def _report_missing_row(self, intent_id: str, detail: str) -> None:
        """Report a payment whose event is done and whose ledger row is missing.

        Plugins do not run again on an event that they have finished, so no event corrects this.
        """
        outcome = None if self._redelivery.dry_run else NEEDS_REPAIR
        detail = f"{detail}: event done, ledger row missing; run `{REPAIR_COMMAND}`"
        await self._reporter.add(Finding("payment", intent_id, detail, outcome))

    def _is_event_listed(self, intent: StripeData) -> bool:
        return bool(intent["created"] > (self._clock() - EVENT_RETENTION).timestamp())
