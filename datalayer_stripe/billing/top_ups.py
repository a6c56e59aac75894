"""Read the top-up that a payment bought, and check that it may be credited."""

from ..errors import Reject, StripeObjectMissing
from ..models import TopUp
from ..store import Store
from ..stripe_api.client import StripeClient
from ..stripe_api.objects import StripeData, id_of, payment_intent_id_of
from .metadata import is_ours, validated_top_up

# The beginning of the reason of a payment that is rejected because of its customer.
_PAID_BY = "paid by"


class TopUps:
    """Reader of top-ups, for plugins and for the service."""

    def __init__(self, store: Store, stripe: StripeClient) -> None:
        self._store = store
        self._stripe = stripe

    async def from_payment_intent(self, intent: StripeData) -> TopUp | None:
        """Return the top-up that a succeeded PaymentIntent paid for.

        Args:
            intent: The PaymentIntent, as Stripe sends it.

        Returns:
            None for a payment of another system on a shared Stripe account.

        Raises:
            Reject: The payment has the service's metadata and fails a check.
        """
        if not is_ours(intent):
            return None
        top_up = validated_top_up(intent)
        await self._check_customer(top_up, id_of(intent.get("customer")))
        return top_up

    async def of(self, data: StripeData) -> TopUp | None:
        """Return the top-up of the payment that a Stripe object belongs to.

        It is read from the ledger, or from Stripe if its credits are not added yet.

        Args:
            data: A PaymentIntent, or a charge, a refund or a dispute of one.

        Returns:
            None if the object belongs to no payment, to a payment of another system, or to one
            that is not paid.

        Raises:
            Reject: The payment has the service's metadata and fails a check.
        """
        is_payment = data.get("object") == "payment_intent"
        intent_id = id_of(data) if is_payment else payment_intent_id_of(data)
        if intent_id is None:
            return None
        entry = (await self._store.ledger.by_ids([intent_id])).get(intent_id)
        if entry is not None:
            return TopUp.model_validate({**entry.model_dump(), "payment_intent_id": entry.id})
        try:
            intent = await self._stripe.retrieve_payment_intent(intent_id)
        except StripeObjectMissing:
            return None
        return await self.from_payment_intent(intent) if intent["status"] == "succeeded" else None

    async def _check_customer(self, top_up: TopUp, customer_id: str | None) -> None:
        """Raise Reject unless a present or former customer of the account has paid."""
        customers = self._store.customers
        owner = None
        if customer_id:
            owner = await customers.account_of(customer_id, expected=top_up.account_uid)
        if owner == top_up.account_uid:
            return
        if owner is not None:
            raise Reject(f"{_PAID_BY} {customer_id}, the customer of another account")
        known = await customers.get(top_up.account_uid)
        if known is not None:
            raise Reject(f"{_PAID_BY} {customer_id}, and the account's customer is {known}")


def is_customer_mismatch(reason: str | None, customer_id: str) -> bool:
    """Return whether a payment was rejected because this customer was not its account's.

    Args:
        reason: The reason of the rejection, or None.
        customer_id: The customer that paid, `cus_…`.
    """
    return (reason or "").startswith(f"{_PAID_BY} {customer_id},")
