"""Return the status of a top-up to its account, and credit it if its webhook is late.

If Stripe reports that the top-up is paid and its event has not been delivered yet, the event is
fetched and processed like a delivery. The delivery that arrives later is a duplicate.
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

# A page has 100 events, the newest first, and the account has just paid. A reconciliation finds
# older events.
_MAX_EVENT_PAGES = 3


class TopUpStatus(Model):
    """Status of a top-up.

    Attributes:
        payment_intent_id: The PaymentIntent's id, `pi_…`.
        status: The PaymentIntent's status.
        credited: Whether the credits were added.
        rejected: Whether the credits are added only after an operator acts.
        credits: The number of credits; None if the PaymentIntent's metadata contains no number.
        balance: The account's balance. It includes the credits if they were added.
    """

    payment_intent_id: str
    status: str
    credited: bool
    rejected: bool
    credits: int | None
    balance: int


class TopUpStatuses:
    """Reader of the status of top-ups.

    Args:
        store: The database.
        stripe: The client of Stripe's API.
        deliveries: Processes the event of a top-up whose webhook is late.
        credit_statuses: Says whether a payment was credited, rejected or neither.
        rate_limiter: Limits how often an account can cause requests to Stripe.
    """

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
        """Return the status of an account's top-up. Add its credits first if it is paid.

        Args:
            account_uid: The account.
            intent_id: The PaymentIntent's id, `pi_…`.

        Raises:
            NotFound: There is no such top-up.
            Forbidden: The top-up belongs to another account.
            RateLimited: The account has caused too many requests to Stripe.
            StripeUnavailable: Stripe does not answer.
            StoreUnavailable: The database does not answer.
        """
        entry, balance = await self._credited(account_uid, intent_id)
        if entry is None:
            intent = await self._uncredited(account_uid, intent_id)
            rejected = False
            if intent["status"] == "succeeded":
                rejected = await self._process_event(intent)
                entry, balance = await self._credited(account_uid, intent_id)
            if entry is None:
                return TopUpStatus(
                    payment_intent_id=intent_id,
                    status=intent["status"],
                    credited=False,
                    rejected=rejected,
                    credits=read_top_up_metadata(intent).credits,
                    balance=balance,
                )
        return TopUpStatus(
            payment_intent_id=intent_id,
            status="succeeded",
            credited=True,
            rejected=False,
            credits=entry.credits,
            balance=balance,
        )

    async def _credited(self, account_uid: str, intent_id: str) -> tuple[LedgerEntry | None, int]:
        """Return the top-up's row, or None, and the balance, which includes the row's credits.

        Raises:
            Forbidden: The row belongs to another account.
        """
        overview = await self._store.overviews.of_top_up(account_uid, intent_id)
        entry = overview.entry
        if entry is not None and entry.account_uid != account_uid:
            raise Forbidden
        return entry, overview.account.credits

    async def _uncredited(self, account_uid: str, intent_id: str) -> StripeData:
        """Return the PaymentIntent of a top-up that has no row in the ledger.

        Raises:
            NotFound: There is no such top-up.
            Forbidden: The top-up belongs to another account.
            RateLimited: The account has caused too many requests to Stripe.
        """
        self._rate_limiter.take(account_uid)
        try:
            intent = await self._stripe.retrieve_payment_intent(intent_id)
        except StripeObjectMissing:
            raise NotFound from None
        if not is_ours(intent):
            raise NotFound  # Another system's payment on a shared Stripe account.
        if read_top_up_metadata(intent).account_uid != account_uid:
            raise Forbidden
        return intent

    async def _process_event(self, intent: StripeData) -> bool:
        """Process the event of a paid top-up; return whether it is rejected."""
        status = await self._credit_statuses.of_payment(intent["id"])
        if status.is_rejected:
            return True
        try:
            event = status.event.event if status.event is not None else None
            if event is None:
                event = await self._event_of(intent)
            if event is not None:  # Otherwise Stripe has not created it yet.
                return await self._deliveries.process_undelivered(event) is Outcome.REJECTED
        except (DeliveryFailed, Overloaded, RateLimited, StripeUnavailable):
            # The caller still learns that it is paid. The next request or the webhook adds the
            # credits.
            logger.info("not credited yet", extra={"payment_intent": intent["id"]})
        return False

    async def _event_of(self, intent: StripeData) -> Event | None:
        """Return the event of a paid PaymentIntent from Stripe's list; None if it is not there."""
        since = datetime.fromtimestamp(intent["created"], UTC)
        pages = 0
        async for page in self._stripe.event_pages([PAYMENT_SUCCEEDED], created_since=since):
            for data in page:
                if data["data"]["object"]["id"] == intent["id"]:
                    return Event.model_validate(data)
            pages += 1
            if pages == _MAX_EVENT_PAGES:
                break
        return None
