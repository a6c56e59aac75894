"""Calls that read objects and lists from Stripe, and change nothing."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import Any

from .retrievable import RETRIEVABLE
from .transport import StripeDict, StripeTransport

MAX_EVENT_TYPES = 20
"""The number of types in one request: https://docs.stripe.com/api/events/list."""

PAGE_SIZE = 100
"""Stripe's maximum page size."""

SUBSCRIPTION_EXPANSIONS: Sequence[str] = ("latest_invoice", "items.data.price.product")
"""The fields of a subscription that are expanded in each answer with one subscription."""


class StripeQueries:
    """Calls that read from Stripe.

    Lists have the newest object first. The `list_…` methods return all objects of a product, a
    customer or a payment. The `…_pages` methods yield lists of up to 100 objects of the whole
    Stripe account: https://docs.stripe.com/api/pagination.
    """

    def __init__(self, transport: StripeTransport) -> None:
        self.transport = transport
        self._v1 = transport.sdk.v1
        self._v2 = transport.sdk.v2

    # Single objects

    async def retrieve_price(self, price_id: str) -> StripeDict:
        """Return a price with its product expanded.

        Args:
            price_id: The price, `price_…`.

        Raises:
            StripeObjectMissing: Stripe has no such price.
        """
        return await self.transport.call(
            "prices.retrieve", self._v1.prices.retrieve_async(price_id, {"expand": ["product"]})
        )

    async def retrieve_event(self, event_id: str) -> StripeDict:
        """Return an event of the last 30 days.

        Args:
            event_id: The event, `evt_…`.

        Raises:
            StripeObjectMissing: Stripe has no such event, or deleted it after 30 days.
        """
        return await self.transport.call(
            "events.retrieve", self._v1.events.retrieve_async(event_id)
        )

    async def retrieve_thin_event(self, event_id: str) -> StripeDict:
        """Return a thin event of the last 30 days: https://docs.stripe.com/api/v2/core/events.

        Args:
            event_id: The thin event, `evt_…`.

        Raises:
            StripeObjectMissing: Stripe has no such thin event, or deleted it after 30 days.
        """
        return await self.transport.call(
            "v2.core.events.retrieve", self._v2.core.events.retrieve_async(event_id)
        )

    async def retrieve_object(self, object_type: str, object_id: str) -> StripeDict:
        """Return an object without expanded fields.

        Args:
            object_type: The type of the object, one of :data:`.RETRIEVABLE`.
            object_id: The id of the object.

        Raises:
            StripeObjectMissing: Stripe has no such object.
        """
        name = RETRIEVABLE[object_type]
        service = attrgetter(name)(self._v1)
        return await self.transport.call(f"{name}.retrieve", service.retrieve_async(object_id))

    async def retrieve_customer(self, customer_id: str) -> StripeDict:
        """Return a customer; for a deleted one, its id and `deleted`.

        Args:
            customer_id: The customer, `cus_…`.

        Raises:
            StripeObjectMissing: Stripe has no such customer.
        """
        return await self.transport.call(
            "customers.retrieve", self._v1.customers.retrieve_async(customer_id)
        )

    async def retrieve_payment_intent(
        self, intent_id: str, *, with_charge: bool = False
    ) -> StripeDict:
        """Return a PaymentIntent.

        Args:
            intent_id: The PaymentIntent, `pi_…`.
            with_charge: Whether to expand its latest charge.

        Raises:
            StripeObjectMissing: Stripe has no such PaymentIntent.
        """
        expand: Any = {"expand": ["latest_charge"]} if with_charge else {}
        return await self.transport.call(
            "payment_intents.retrieve", self._v1.payment_intents.retrieve_async(intent_id, expand)
        )

    async def retrieve_receipt_url(self, intent_id: str) -> str | None:
        """Return the URL of a payment's receipt: https://docs.stripe.com/receipts.

        Args:
            intent_id: The PaymentIntent, `pi_…`.

        Returns:
            None if the payment has no receipt.

        Raises:
            StripeObjectMissing: Stripe has no such PaymentIntent.
        """
        intent = await self.retrieve_payment_intent(intent_id, with_charge=True)
        receipt_url: str | None = (intent["latest_charge"] or {}).get("receipt_url")
        return receipt_url

    async def retrieve_subscription(self, subscription_id: str) -> StripeDict:
        """Return a subscription with its product and its latest invoice expanded.

        Args:
            subscription_id: The subscription, `sub_…`.

        Raises:
            StripeObjectMissing: Stripe has no such subscription.
        """
        return await self.transport.call(
            "subscriptions.retrieve",
            self._v1.subscriptions.retrieve_async(
                subscription_id, {"expand": list(SUBSCRIPTION_EXPANSIONS)}
            ),
        )

    # Objects of a product, a customer or a payment

    async def list_prices(self, product_id: str, *, recurring: bool) -> list[StripeDict]:
        """Return the active prices of a product, each with its product expanded.

        Args:
            product_id: The product, `prod_…`.
            recurring: Whether to return recurring prices rather than one-time prices.

        Raises:
            StripeObjectMissing: Stripe has no such product.
        """
        request = self._v1.prices.list_async(
            {
                "product": product_id,
                "active": True,
                "type": "recurring" if recurring else "one_time",
                "expand": ["data.product"],
                "limit": PAGE_SIZE,
            }
        )
        return await self.transport.collect("prices.list", request)

    async def list_refunds(self, payment_intent_id: str) -> list[StripeDict]:
        """Return all refunds of a PaymentIntent: https://docs.stripe.com/api/refunds/list.

        Args:
            payment_intent_id: The PaymentIntent, `pi_…`.
        """
        request = self._v1.refunds.list_async(
            {"payment_intent": payment_intent_id, "limit": PAGE_SIZE}
        )
        return await self.transport.collect("refunds.list", request)

    async def list_disputes(self, payment_intent_id: str) -> list[StripeDict]:
        """Return all disputes of a PaymentIntent: https://docs.stripe.com/api/disputes/list.

        Args:
            payment_intent_id: The PaymentIntent, `pi_…`.
        """
        request = self._v1.disputes.list_async(
            {"payment_intent": payment_intent_id, "limit": PAGE_SIZE}
        )
        return await self.transport.collect("disputes.list", request)

    async def list_subscriptions(self, customer_id: str) -> list[StripeDict]:
        """Return all subscriptions of a customer, including ended ones.

        Each has its latest invoice and its pending SetupIntent expanded, with the client secrets
        that a first payment needs.

        Args:
            customer_id: The customer, `cus_…`.

        Raises:
            StripeCustomerMissing: Stripe has no such customer.
        """
        request = self._v1.subscriptions.list_async(
            {
                "customer": customer_id,
                "status": "all",
                "expand": ["data.latest_invoice.confirmation_secret", "data.pending_setup_intent"],
                "limit": PAGE_SIZE,
            }
        )
        return await self.transport.collect("subscriptions.list", request)

    # Objects of the whole Stripe account, page by page

    async def event_pages(
        self, types: Sequence[str], *, created_since: datetime
    ) -> AsyncIterator[list[StripeDict]]:
        """Yield Stripe's events of the last 30 days: https://docs.stripe.com/api/events/list.

        If there are more than 20 types, the events of the first 20 types come first, then those
        of the next 20, and so on.

        Args:
            types: The event types.
            created_since: The earliest time of creation.
        """
        for first in range(0, len(types), MAX_EVENT_TYPES):
            params = _created_between(created_since, None)
            params["types"] = list(types[first : first + MAX_EVENT_TYPES])
            request = partial(self._v1.events.list_async, params)
            async for page in self.transport.pages("events.list", request):
                yield page

    def refund_pages(
        self, *, created_since: datetime | None = None, created_before: datetime | None = None
    ) -> AsyncIterator[list[StripeDict]]:
        """Yield all refunds.

        Args:
            created_since: The earliest time of creation; by default unlimited.
            created_before: The end of the times of creation, exclusive; by default unlimited.
        """
        params = _created_between(created_since, created_before)
        return self.transport.pages("refunds.list", partial(self._v1.refunds.list_async, params))

    def dispute_pages(
        self, *, created_since: datetime | None = None, created_before: datetime | None = None
    ) -> AsyncIterator[list[StripeDict]]:
        """Yield all disputes.

        Args:
            created_since: The earliest time of creation; by default unlimited.
            created_before: The end of the times of creation, exclusive; by default unlimited.
        """
        params = _created_between(created_since, created_before)
        return self.transport.pages("disputes.list", partial(self._v1.disputes.list_async, params))

    def payment_intent_pages(
        self, *, created_since: datetime | None = None, customer_id: str | None = None
    ) -> AsyncIterator[list[StripeDict]]:
        """Yield all PaymentIntents, each with its latest charge expanded.

        Args:
            created_since: The earliest time of creation; by default unlimited.
            customer_id: The customer; by default any, or none.
        """
        params = _created_between(created_since, None)
        if customer_id is not None:
            params["customer"] = customer_id
        params["expand"] = ["data.latest_charge"]
        return self.transport.pages(
            "payment_intents.list", partial(self._v1.payment_intents.list_async, params)
        )

    def customer_pages(
        self, *, created_since: datetime | None = None
    ) -> AsyncIterator[list[StripeDict]]:
        """Yield all customers, without deleted ones.

        Args:
            created_since: The earliest time of creation; by default unlimited.
        """
        params = _created_between(created_since, None)
        return self.transport.pages(
            "customers.list", partial(self._v1.customers.list_async, params)
        )

    def subscription_pages(self) -> AsyncIterator[list[StripeDict]]:
        """Yield all subscriptions, including ended ones, with their latest invoice expanded."""
        params: Any = {"status": "all", "limit": PAGE_SIZE, "expand": ["data.latest_invoice"]}
        return self.transport.pages(
            "subscriptions.list", partial(self._v1.subscriptions.list_async, params)
        )


def _created_between(since: datetime | None, before: datetime | None) -> Any:
    bounds = {"gte": since, "lt": before}
    created = {name: int(at.timestamp()) for name, at in bounds.items() if at is not None}
    return {"limit": PAGE_SIZE} | ({"created": created} if created else {})
