"""How a top-up stands, for the one who has paid it and waits.

Where Stripe says that it is paid and no delivery has said so yet, the event is fetched and worked
on here, by the very code that a delivery of it runs; when that comes, it is a duplicate.
"""

import logging
from datetime import UTC, datetime

from ..billing.credit_status import CreditStatuses
from ..billing.metadata import is_ours, read_top_up_metadata
from ..errors import (
    DeliveryFailed,
    Forbidden,
    NotFound,
    Overloaded,
    RateLimited,
    StripeObjectMissing,
    StripeUnavailable,
)
from ..events import PAYMENT_SUCCEEDED, Event
from ..limits import AccountRateLimiter
from ..models import LedgerEntry, Model
from ..store import Store
from ..stripe_api.client import StripeClient
from ..stripe_api.objects import StripeData
from ..webhooks.delivery import Deliveries
from ..webhooks.outcome import Outcome

logger = logging.getLogger(__name__)

# Newest first, a hundred events a page: who asks has just paid. What is further back is found by
# a reconciliation.
_EVENT_PAGES = 3


class TopUpStatus(Model):
    """`status` is the PaymentIntent's; `balance` is the account's, with the credits if `credited`.

    `rejected`: it is paid, and its credits come only when the operator has looked into it.
    `credits` is what the top-up buys; None where the PaymentIntent's metadata holds no number.
    """

    payment_intent_id: str
    status: str
    credited: bool
    rejected: bool
    credits: int | None
    balance: int


class TopUpStatuses:
    def __init__(
        self,
        store: Store,
        stripe: StripeClient,
        deliveries: Deliveries,
        credit_statuses: CreditStatuses,
        rate_limiter: AccountRateLimiter,
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._deliveries = deliveries
        self._credit_statuses = credit_statuses
        self._rate_limiter = rate_limiter

    async def of(self, account_uid: str, intent_id: str) -> TopUpStatus:
        """How the account's top-up stands; its credits are added, if that is all that is left.

        Raises NotFound where there is no such top-up, Forbidden where it is another account's, and
        RateLimited where Stripe would have to be asked too often.
        """
        entry = await self._credited(account_uid, intent_id)
        if entry is None:
            intent = await self._uncredited(account_uid, intent_id)
            rejected = False
            if intent["status"] == "succeeded":
                rejected = await self._catch_up(intent)
                entry = await self._credited(account_uid, intent_id)
            if entry is None:
                return TopUpStatus(
                    payment_intent_id=intent_id,
                    status=intent["status"],
                    credited=False,
                    rejected=rejected,
                    credits=read_top_up_metadata(intent).credits,
                    balance=await self._balance(account_uid),
                )
        return TopUpStatus(
            payment_intent_id=intent_id,
            status="succeeded",
            credited=True,
            rejected=False,
            credits=entry.credits,
            # Read after the ledger's row, and so with its credits.
            balance=await self._balance(account_uid),
        )

    async def _credited(self, account_uid: str, intent_id: str) -> LedgerEntry | None:
        entry = (await self._store.ledger.by_ids([intent_id])).get(intent_id)
        if entry is not None and entry.account_uid != account_uid:
            raise Forbidden
        return entry

    async def _balance(self, account_uid: str) -> int:
        return (await self._store.accounts.get(account_uid)).credits

    async def _uncredited(self, account_uid: str, intent_id: str) -> StripeData:
        self._rate_limiter.take(account_uid)
        try:
            intent = await self._stripe.retrieve_payment_intent(intent_id)
        except StripeObjectMissing:
            raise NotFound from None
        if not is_ours(intent):
            raise NotFound  # another system's, on a shared Stripe account
        if read_top_up_metadata(intent).account_uid != account_uid:
            raise Forbidden
        return intent

    async def _catch_up(self, intent: StripeData) -> bool:
        """Work on the event that says so, unless it waits for the operator; whether it does."""
        status = await self._credit_statuses.of_payment(intent["id"])
        if status.is_rejected:
            return True
        try:
            event = status.event.event if status.event is not None else None
            if event is None:
                event = await self._event_of(intent)
            if event is not None:  # else Stripe is about to make it
                return await self._deliveries.process_undelivered(event) is Outcome.REJECTED
        except (DeliveryFailed, Overloaded, RateLimited, StripeUnavailable):
            # That it is paid is worth telling; the next question, or the webhook, does the rest.
            logger.info("not credited yet", extra={"payment_intent": intent["id"]})
        return False

    async def _event_of(self, intent: StripeData) -> Event | None:
        since = datetime.fromtimestamp(intent["created"], UTC)
        pages = 0
        async for page in self._stripe.event_pages([PAYMENT_SUCCEEDED], created_since=since):
            for data in page:
                if data["data"]["object"]["id"] == intent["id"]:
                    return Event.model_validate(data)
            pages += 1
            if pages == _EVENT_PAGES:
                break
        return None
