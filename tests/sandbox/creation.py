"""Helpers that create PaymentIntents and subscriptions through the SDK."""

from typing import Any

import stripe

from datalayer_stripe.sandbox import Sandbox
from tests.sandbox.conftest import Shop

NO_REDIRECTS = {"enabled": True, "allow_redirects": "never"}


async def create_intent(client: stripe.StripeClient, **params: Any) -> stripe.PaymentIntent:
    """Create a PaymentIntent of $5.00 by default."""
    defaults = {"amount": 500, "currency": "usd", "automatic_payment_methods": NO_REDIRECTS}
    return await client.v1.payment_intents.create_async({**defaults, **params})


async def create_incomplete(
    client: stripe.StripeClient, shop: Shop, **params: Any
) -> stripe.Subscription:
    """Create a monthly subscription whose first invoice is not paid."""
    defaults = {
        "customer": shop.customer,
        "items": [{"price": shop.monthly}],
        "payment_behavior": "default_incomplete",
        "payment_settings": {"save_default_payment_method": "on_subscription"},
        "metadata": {"account_uid": "u1"},
        "expand": ["latest_invoice.confirmation_secret", "latest_invoice.payments"],
    }
    return await client.v1.subscriptions.create_async({**defaults, **params})


async def create_active(
    sandbox: Sandbox,
    client: stripe.StripeClient,
    shop: Shop,
    card: str = "4242424242424242",
    **params: Any,
) -> str:
    """Create a monthly subscription, pay its first invoice and return its identifier."""
    subscription = await create_incomplete(client, shop, **params)
    sandbox.confirm_payment(subscription.latest_invoice.confirmation_secret.client_secret, card)
    return subscription.id


def attach_default_card(sandbox: Sandbox, customer: str, token: str = "pm_card_visa") -> str:
    """Attach a test card as the customer's default and return its payment method's identifier."""
    method = sandbox.call("POST", f"/v1/payment_methods/{token}/attach", customer=customer)
    settings = {"default_payment_method": method["id"]}
    sandbox.call("POST", f"/v1/customers/{customer}", invoice_settings=settings)
    return str(method["id"])
