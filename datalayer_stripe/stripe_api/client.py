"""The client of Stripe's API: calls that change something at Stripe.

The calls return plain data and raise the errors of `errors.py`.

Each write has an idempotency key: https://docs.stripe.com/api/idempotent_requests. Writes that
must have their effect once are sent by :class:`.billing.idempotency.IdempotentRequests`.
"""

from collections.abc import Mapping
from typing import Any

from ..metrics import Metrics
from .queries import SUBSCRIPTION_EXPANSIONS, StripeQueries
from .rate_limit import CallLimiter
from .transport import StripeDict, StripeTransport

# Cards, and the wallets that hold cards, settle immediately. A voucher or a bank transfer may be
# paid elsewhere while its PaymentIntent is still open, and the PaymentIntent would be cancelled:
# https://docs.stripe.com/payments/vouchers.
# The browser confirms the payment on its own page, and no card needs a page to return to. Stripe
# accepts no `automatic_payment_methods` beside these types, and no `payment_method_types` at all:
# https://docs.stripe.com/changelog/dahlia/2026-07-29/allowed-payment-method-types-parameter.
_CARD_ONLY: Any = {"allowed_payment_method_types": ["card"]}


class StripeClient(StripeQueries):
    """Client of Stripe's API, shared by the whole service.

    Call :meth:`close` at the end. Each method raises a :class:`.RequestError` if Stripe refuses
    the request or does not answer.

    Args:
        api_key: Stripe's secret key.
        metrics: Counts the calls and measures their duration.
        api_base: The base URL of Stripe's API; by default the real one.
        limiter: Limits the calls that the service makes on its own account; by default they are
            not limited.
    """

    def __init__(
        self,
        api_key: str,
        *,
        metrics: Metrics,
        api_base: str | None = None,
        limiter: CallLimiter | None = None,
    ) -> None:
        super().__init__(
            StripeTransport(api_key, metrics=metrics, api_base=api_base, limiter=limiter)
        )
        self.sdk = self.transport.sdk
        """The SDK's own client, for plugins, with key, version, address and retries set.

        Use its methods that end in `_async`. They raise the SDK's errors and are not counted.
        """

    @property
    def last_error(self) -> str | None:
        """The kind of the last call's error if Stripe was unavailable, else None."""
        return self.transport.last_error

    async def close(self) -> None:
        """Close the connections."""
        await self.transport.close()

    # Customers

    async def create_customer(
        self,
        *,
        email: str | None,
        name: str | None,
        metadata: dict[str, str],
        idempotency_key: str,
    ) -> StripeDict:
        """Create a customer.

        Args:
            email: The e-mail address, or None.
            name: The name, or None.
            metadata: The metadata.
            idempotency_key: The idempotency key.
        """
        params: Any = {"metadata": metadata}
        params |= {key: value for key, value in (("email", email), ("name", name)) if value}
        return await self.transport.call(
            "customers.create",
            self._v1.customers.create_async(params, {"idempotency_key": idempotency_key}),
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
        """Create a PaymentIntent that a browser confirms with a card.

        Args:
            amount: The amount in the currency's minor unit.
            currency: The currency, three lower-case letters.
            customer_id: The customer that pays, `cus_…`.
            description: The text on the receipt.
            metadata: The metadata.
            idempotency_key: The idempotency key.
        """
        params: Any = {
            "amount": amount,
            "currency": currency,
            "customer": customer_id,
            "description": description,
            "metadata": metadata,
            **_CARD_ONLY,
        }
        return await self.transport.call(
            "payment_intents.create",
            self._v1.payment_intents.create_async(params, {"idempotency_key": idempotency_key}),
        )

    async def cancel_payment_intent(self, intent_id: str, *, idempotency_key: str) -> StripeDict:
        """Cancel a PaymentIntent: https://docs.stripe.com/api/payment_intents/cancel.

        Args:
            intent_id: The PaymentIntent, `pi_…`.
            idempotency_key: The idempotency key.

        Raises:
            InvalidRequest: It is paid, or a payment is being processed.
        """
        return await self.transport.call(
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
        """Create a SetupIntent, by which a browser saves a card for later payments.

        Args:
            customer_id: The customer, `cus_…`.
            metadata: The metadata.
            idempotency_key: The idempotency key.
        """
        params: Any = {
            "customer": customer_id,
            "usage": "off_session",
            "metadata": metadata,
            **_CARD_ONLY,
        }
        return await self.transport.call(
            "setup_intents.create",
            self._v1.setup_intents.create_async(params, {"idempotency_key": idempotency_key}),
        )

    # Subscriptions

    async def create_subscription(
        self, *, customer_id: str, price_id: str, metadata: dict[str, str], idempotency_key: str
    ) -> StripeDict:
        """Create an incomplete subscription, whose first payment a browser confirms.

        https://docs.stripe.com/billing/subscriptions/build-subscriptions

        Args:
            customer_id: The customer that pays, `cus_…`.
            price_id: The price of the plan, `price_…`.
            metadata: The metadata.
            idempotency_key: The idempotency key.
        """
        return await self.transport.call(
            "subscriptions.create",
            self._v1.subscriptions.create_async(
                {
                    "customer": customer_id,
                    "items": [{"price": price_id}],
                    "payment_behavior": "default_incomplete",
                    "payment_settings": {"save_default_payment_method": "on_subscription"},
                    "metadata": metadata,
                    "expand": [
                        *SUBSCRIPTION_EXPANSIONS,
                        "latest_invoice.confirmation_secret",
                        "pending_setup_intent",
                    ],
                },
                {"idempotency_key": idempotency_key},
            ),
        )

    async def update_subscription(
        self, subscription_id: str, changes: Mapping[str, Any], *, idempotency_key: str
    ) -> StripeDict:
        """Change a subscription, and return it.

        Args:
            subscription_id: The subscription, `sub_…`.
            changes: The parameters of https://docs.stripe.com/api/subscriptions/update.
            idempotency_key: The idempotency key.

        Raises:
            InvalidRequest: Stripe refuses the change, for example because it has ended.
        """
        params: Any = {**changes, "expand": list(SUBSCRIPTION_EXPANSIONS)}
        return await self.transport.call(
            "subscriptions.update",
            self._v1.subscriptions.update_async(
                subscription_id, params, {"idempotency_key": idempotency_key}
            ),
        )

    async def void_invoice(self, invoice_id: str, *, idempotency_key: str) -> StripeDict:
        """Void an invoice, so that it cannot be paid.

        Args:
            invoice_id: The invoice, `in_…`.
            idempotency_key: The idempotency key.

        Raises:
            InvalidRequest: The invoice is paid.
        """
        return await self.transport.call(
            "invoices.void",
            self._v1.invoices.void_invoice_async(
                invoice_id, {}, {"idempotency_key": idempotency_key}
            ),
        )

    # Billing portal

    async def create_portal_session(
        self, *, customer_id: str, configuration_id: str, return_url: str, idempotency_key: str
    ) -> StripeDict:
        """Create a session of the billing portal; its `url` is to be opened in a browser.

        Args:
            customer_id: The customer, `cus_…`.
            configuration_id: The portal's configuration, `bpc_…`.
            return_url: The URL of the link that leaves the portal.
            idempotency_key: The idempotency key.
        """
        return await self.transport.call(
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
