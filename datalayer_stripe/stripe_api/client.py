"""The only caller of Stripe.

One shared async client. Answers leave here as plain data, errors as ours. Every write carries an
idempotency key of the caller's: https://docs.stripe.com/api/idempotent_requests. One that must
have its effect once is sent by :class:`.billing.idempotency.IdempotentRequests`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import aiohttp
import stripe

from ..errors import RateLimited, StripeUnavailable
from ..metrics import Metrics
from .errors import as_ours, is_replayed

STRIPE_VERSION = "2026-08-26.dahlia"
"""The API version of our own calls: what the code was tested with, whatever the SDK's default."""

# Below what a plugin may take, so that Stripe's silence is known for what it is.
_ATTEMPT_TIMEOUT = aiohttp.ClientTimeout(total=6, sock_connect=3)
_RETRIES = 2
_TOTAL_SECONDS = 8

# Stripe's own bound on the filter by event types.
_MAX_TYPES = 20

OPERATIONS = (
    "billing_portal.sessions.create",
    "customers.create",
    "customers.list",
    "customers.retrieve",
    "disputes.list",
    "events.list",
    "events.retrieve",
    "invoices.void",
    "payment_intents.cancel",
    "payment_intents.create",
    "payment_intents.list",
    "payment_intents.retrieve",
    "prices.list",
    "prices.retrieve",
    "refunds.list",
    "setup_intents.create",
    "subscriptions.create",
    "subscriptions.list",
    "subscriptions.retrieve",
    "subscriptions.update",
)
"""The calls that are made, as their metrics name them."""

StripeDict = dict[str, Any]
R = TypeVar("R")


class StripeClient:
    """Call :meth:`close` at the end. Methods raise the errors of :func:`.stripe_errors.as_ours`."""

    def __init__(self, api_key: str, *, metrics: Metrics, api_base: str | None = None) -> None:
        self._metrics = metrics
        self._http = stripe.AIOHTTPClient(timeout=_ATTEMPT_TIMEOUT)
        self.sdk = stripe.StripeClient(
            api_key,
            stripe_version=STRIPE_VERSION,
            base_addresses={"api": api_base} if api_base else None,
            max_network_retries=_RETRIES,
            http_client=self._http,
        )
        """The SDK's own client, for plugins: key, version, address and retries are set.

        Use its methods that end in `_async`. Their errors are the SDK's, and they are not counted.
        """
        self._v1 = self.sdk.v1
        self.trouble: str | None = None
        """The kind of error that the last call ended with, if it was Stripe's unavailability."""

    async def close(self) -> None:
        await self._http.close_async()  # type: ignore[no-untyped-call]

    # Catalog

    async def list_prices(self, product_id: str, *, recurring: bool) -> list[StripeDict]:
        """The active prices of a product, each with its product expanded."""

        async def listed() -> list[StripeDict]:
            page = await self._v1.prices.list_async(
                {
                    "product": product_id,
                    "active": True,
                    "type": "recurring" if recurring else "one_time",
                    "expand": ["data.product"],
                    "limit": 100,
                }
            )
            return [plain(price) async for price in page.auto_paging_iter()]

        return await self._timed("prices.list", listed())

    async def retrieve_price(self, price_id: str) -> StripeDict:
        """A price with its product expanded. Raises StripeObjectMissing."""
        return await self._call(
            "prices.retrieve",
            self._v1.prices.retrieve_async(price_id, {"expand": ["product"]}),
        )

    # Customers

    async def create_customer(
        self,
        *,
        email: str | None,
        name: str | None,
        metadata: dict[str, str],
        idempotency_key: str,
    ) -> StripeDict:
        params: Any = {"metadata": metadata}
        params |= {key: value for key, value in (("email", email), ("name", name)) if value}
        return await self._call(
            "customers.create",
            self._v1.customers.create_async(params, {"idempotency_key": idempotency_key}),
        )

    async def retrieve_customer(self, customer_id: str) -> StripeDict:
        """Return a customer; of a deleted one, its id and `deleted`. Raises StripeObjectMissing."""
        return await self._call(
            "customers.retrieve", self._v1.customers.retrieve_async(customer_id)
        )

    # Payments

    async def create_payment_intent(
        self,
        *,
        amount: int,
        currency: str,
        customer_id: str,
        description: str,
        metadata: dict[str, str],
        idempotency_key: str,
    ) -> StripeDict:
        """`amount` is in the currency's minor unit."""
        return await self._call(
            "payment_intents.create",
            self._v1.payment_intents.create_async(
                {
                    "amount": amount,
                    "currency": currency,
                    "customer": customer_id,
                    "description": description,
                    "metadata": metadata,
                    # Cards, and the wallets that hold them, settle at once. A voucher or a bank
                    # transfer may be paid elsewhere while the PaymentIntent still waits, and
                    # would be cancelled: https://docs.stripe.com/payments/vouchers.
                    "allowed_payment_method_types": ["card"],
                    # The clients confirm within their own page, and have no page to return to.
                    "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
                },
                {"idempotency_key": idempotency_key},
            ),
        )

    async def list_refunds(self, payment_intent_id: str) -> list[StripeDict]:
        """All refunds of a PaymentIntent, newest first: docs.stripe.com/api/refunds/list."""

        async def listed() -> list[StripeDict]:
            page = await self._v1.refunds.list_async(
                {"payment_intent": payment_intent_id, "limit": 100}
            )
            return [plain(refund) async for refund in page.auto_paging_iter()]

        return await self._timed("refunds.list", listed())

    async def list_disputes(self, payment_intent_id: str) -> list[StripeDict]:
        """All disputes of a PaymentIntent, newest first: docs.stripe.com/api/disputes/list."""

        async def listed() -> list[StripeDict]:
            page = await self._v1.disputes.list_async(
                {"payment_intent": payment_intent_id, "limit": 100}
            )
            return [plain(dispute) async for dispute in page.auto_paging_iter()]

        return await self._timed("disputes.list", listed())

    async def cancel_payment_intent(self, intent_id: str, *, idempotency_key: str) -> StripeDict:
        """Let a PaymentIntent never be paid. Raises InvalidRequest when it has been, or is being.

        docs.stripe.com/api/payment_intents/cancel
        """
        return await self._call(
            "payment_intents.cancel",
            self._v1.payment_intents.cancel_async(
                intent_id,
                {"cancellation_reason": "abandoned"},
                {"idempotency_key": idempotency_key},
            ),
        )

    async def create_setup_intent(
        self, *, customer_id: str, metadata: dict[str, str], idempotency_key: str
    ) -> StripeDict:
        return await self._call(
            "setup_intents.create",
            self._v1.setup_intents.create_async(
                {
                    "customer": customer_id,
                    "usage": "off_session",
                    "metadata": metadata,
                    "allowed_payment_method_types": ["card"],
                    "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
                },
                {"idempotency_key": idempotency_key},
            ),
        )

    # Subscriptions

    async def list_subscriptions(self, customer_id: str) -> list[StripeDict]:
        """All subscriptions of a customer, ended ones too, with what a payment needs."""

        async def listed() -> list[StripeDict]:
            page = await self._v1.subscriptions.list_async(
                {
                    "customer": customer_id,
                    "status": "all",
                    "expand": [
                        "data.latest_invoice.confirmation_secret",
                        "data.pending_setup_intent",
                    ],
                    "limit": 100,
                }
            )
            return [plain(subscription) async for subscription in page.auto_paging_iter()]

        return await self._timed("subscriptions.list", listed())

    async def retrieve_subscription(self, subscription_id: str) -> StripeDict:
        """A subscription with product and latest invoice. Raises StripeObjectMissing."""
        return await self._call(
            "subscriptions.retrieve",
            self._v1.subscriptions.retrieve_async(
                subscription_id, {"expand": list(_SUBSCRIPTION_VIEW)}
            ),
        )

    async def create_subscription(
        self, *, customer_id: str, price_id: str, metadata: dict[str, str], idempotency_key: str
    ) -> StripeDict:
        """An incomplete subscription, whose first payment the browser confirms.

        docs.stripe.com/billing/subscriptions/build-subscriptions
        """
        return await self._call(
            "subscriptions.create",
            self._v1.subscriptions.create_async(
                {
                    "customer": customer_id,
                    "items": [{"price": price_id}],
                    "payment_behavior": "default_incomplete",
                    "payment_settings": {"save_default_payment_method": "on_subscription"},
                    "metadata": metadata,
                    "expand": [
                        *_SUBSCRIPTION_VIEW,
                        "latest_invoice.confirmation_secret",
                        "pending_setup_intent",
                    ],
                },
                {"idempotency_key": idempotency_key},
            ),
        )

    async def void_invoice(self, invoice_id: str, *, idempotency_key: str) -> StripeDict:
        """Take an invoice back. Raises InvalidRequest when it has been paid."""
        return await self._call(
            "invoices.void",
            self._v1.invoices.void_invoice_async(
                invoice_id, {}, {"idempotency_key": idempotency_key}
            ),
        )

    async def update_subscription(
        self, subscription_id: str, changes: Mapping[str, Any], *, idempotency_key: str
    ) -> StripeDict:
        """Change a subscription: docs.stripe.com/api/subscriptions/update."""
        params: Any = {**changes, "expand": list(_SUBSCRIPTION_VIEW)}
        return await self._call(
            "subscriptions.update",
            self._v1.subscriptions.update_async(
                subscription_id, params, {"idempotency_key": idempotency_key}
            ),
        )

    # Billing portal

    async def create_portal_session(
        self, *, customer_id: str, configuration_id: str, return_url: str, idempotency_key: str
    ) -> StripeDict:
        return await self._call(
            "billing_portal.sessions.create",
            self._v1.billing_portal.sessions.create_async(
                {
                    "customer": customer_id,
                    "configuration": configuration_id,
                    "return_url": return_url,
                },
                {"idempotency_key": idempotency_key},
            ),
        )

    # Everything, page by page, newest first

    async def event_pages(
        self, types: Sequence[str], *, created_since: datetime
    ) -> AsyncIterator[list[StripeDict]]:
        """Stripe's events of these types; it keeps them for 30 days: docs.stripe.com/api/events.

        Where there are more types than one list may name, a list after the other.
        """
        for first in range(0, len(types), _MAX_TYPES):
            params: Any = _created_between(created_since, None)
            params["types"] = list(types[first : first + _MAX_TYPES])
            events = partial(self._v1.events.list_async, params)
            async for page in self._pages("events.list", events):
                yield page

    def refund_pages(
        self, *, created_since: datetime | None = None, created_before: datetime | None = None
    ) -> AsyncIterator[list[StripeDict]]:
        """The refunds of everybody on this Stripe account."""
        params: Any = _created_between(created_since, created_before)
        return self._pages("refunds.list", lambda: self._v1.refunds.list_async(params))

    def dispute_pages(
        self, *, created_since: datetime | None = None, created_before: datetime | None = None
    ) -> AsyncIterator[list[StripeDict]]:
        """The disputes of everybody on this Stripe account."""
        params: Any = _created_between(created_since, created_before)
        return self._pages("disputes.list", lambda: self._v1.disputes.list_async(params))

    def payment_intent_pages(
        self, *, created_since: datetime | None = None
    ) -> AsyncIterator[list[StripeDict]]:
        """The PaymentIntents of everybody on this Stripe account, with their latest charges."""
        params: Any = _created_between(created_since, None)
        params["expand"] = ["data.latest_charge"]
        return self._pages(
            "payment_intents.list", lambda: self._v1.payment_intents.list_async(params)
        )

    def customer_pages(self, *, created_since: datetime) -> AsyncIterator[list[StripeDict]]:
        """The customers of everybody on this Stripe account, without deleted ones."""
        params: Any = _created_between(created_since, None)
        return self._pages("customers.list", lambda: self._v1.customers.list_async(params))

    def subscription_pages(self) -> AsyncIterator[list[StripeDict]]:
        """All subscriptions on this Stripe account, ended ones too."""
        params: Any = {"status": "all", "limit": 100, "expand": ["data.latest_invoice"]}
        return self._pages("subscriptions.list", lambda: self._v1.subscriptions.list_async(params))

    async def retrieve_event(self, event_id: str) -> StripeDict:
        """An event of the last 30 days. Raises StripeObjectMissing."""
        return await self._call("events.retrieve", self._v1.events.retrieve_async(event_id))

    async def retrieve_payment_intent(
        self, intent_id: str, *, with_charge: bool = False
    ) -> StripeDict:
        """A PaymentIntent, with its latest charge if that is asked for.

        Raises StripeObjectMissing.
        """
        expand: Any = {"expand": ["latest_charge"]} if with_charge else {}
        return await self._call(
            "payment_intents.retrieve", self._v1.payment_intents.retrieve_async(intent_id, expand)
        )

    async def retrieve_receipt_url(self, intent_id: str) -> str | None:
        """Where Stripe shows the receipt of a payment: docs.stripe.com/receipts.

        Raises StripeObjectMissing.
        """
        intent = await self._call(
            "payment_intents.retrieve",
            self._v1.payment_intents.retrieve_async(intent_id, {"expand": ["latest_charge"]}),
        )
        receipt_url: str | None = (intent["latest_charge"] or {}).get("receipt_url")
        return receipt_url

    async def _pages(
        self, operation: str, first: Callable[[], Awaitable[stripe.ListObject[Any]]]
    ) -> AsyncIterator[list[StripeDict]]:
        page = await self._timed(operation, first())
        while True:
            yield [plain(item) for item in page.data]
            if not page.has_more:
                return
            page = await self._timed(operation, page.next_page_async())

    async def _call(self, operation: str, request: Awaitable[stripe.StripeObject]) -> StripeDict:
        return plain(await self._timed(operation, request))

    async def _timed(self, operation: str, request: Awaitable[R]) -> R:
        """Await a request within the bounds, count it, and turn its errors into ours."""
        outcome, begun = "cancelled", time.perf_counter()
        try:
            async with asyncio.timeout(_TOTAL_SECONDS):
                answer = await request
        # The SDK leaves errors that occur while it reads a body to the transport's own classes.
        except (stripe.StripeError, aiohttp.ClientError, TimeoutError) as error:
            outcome = type(error).__name__
            ours = as_ours(operation, error)
            ours.is_replayed = is_replayed(error)
            self.trouble = outcome if isinstance(ours, StripeUnavailable | RateLimited) else None
            raise ours from error
        else:
            outcome, self.trouble = "ok", None
            return answer
        finally:
            self._metrics.stripe_calls.labels(operation, outcome).inc()
            self._metrics.stripe_seconds.labels(operation).observe(time.perf_counter() - begun)


def _created_between(since: datetime | None, before: datetime | None) -> dict[str, Any]:
    bounds = {"gte": since, "lt": before}
    created = {name: int(at.timestamp()) for name, at in bounds.items() if at is not None}
    return {"limit": 100} | ({"created": created} if created else {})


def plain(item: stripe.StripeObject) -> StripeDict:
    """A Stripe object as JSON would have it: the SDK makes decimals of some texts."""
    return item.to_dict(for_json=True)


_SUBSCRIPTION_VIEW: Sequence[str] = ("latest_invoice", "items.data.price.product")
