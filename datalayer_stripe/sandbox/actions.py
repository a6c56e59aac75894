"""Actions on a local Stripe by merchants, customers and banks: create, pay, refund, dispute."""

import secrets
from collections.abc import Iterable, Sequence
from typing import Any

from .api.browser import confirm, intent_id
from .core import SandboxCore
from .shapes.objects import Object


class SandboxActions(SandboxCore):
    """A local Stripe without its HTTP server; see `SandboxCore` for its arguments."""

    def create_restricted_key(self, permissions: Iterable[str]) -> str:
        """Create a restricted API key, and return it: `rk_test_…`.

        Args:
            permissions: Stripe's names of what it may do, such as `webhook_write`:
                https://docs.stripe.com/keys/permissions-reference.
        """
        key = f"rk_test_{secrets.token_hex(16)}"
        self.dispatcher.restricted_keys[key] = frozenset(permissions)
        return key

    def create_product(self, *, name: str, **params: Any) -> Object:
        """Create a product.

        Args:
            name: the product's name.
            params: any other parameter of Stripe's API.
        """
        return self.call("POST", "/v1/products", name=name, **params)

    def create_price(
        self,
        *,
        product: str,
        unit_amount: int,
        currency: str = "usd",
        credits: int | None = None,
        **params: Any,
    ) -> Object:
        """Create a price, one-time or with `recurring={"interval": "month"}`.

        Args:
            product: the product's identifier.
            unit_amount: in the currency's minor unit.
            currency: three letters, in lower case.
            credits: how many credits one unit buys; sent as `transform_quantity`.
            params: any other parameter of Stripe's API.
        """
        if credits is not None:
            params["transform_quantity"] = {"divide_by": credits, "round": "up"}
        params.update(product=product, unit_amount=unit_amount, currency=currency)
        return self.call("POST", "/v1/prices", **params)

    def update_price(self, price_id: str, **params: Any) -> Object:
        """Update a price: `active`, `nickname`, `metadata`, `lookup_key`."""
        return self.call("POST", f"/v1/prices/{price_id}", **params)

    def delete_price(self, price_id: str) -> None:
        """Delete a price that no subscription uses, as in Stripe's dashboard.

        Raises:
            KeyError: there is no such price.
            StripeError: a subscription uses the price.
        """
        self._resources.prices.delete(self._find(price_id))

    def create_customer(self, **params: Any) -> Object:
        """Create a customer."""
        return self.call("POST", "/v1/customers", **params)

    def create_webhook_endpoint(
        self,
        url: str,
        secret: str | Sequence[str],
        enabled_events: Sequence[str] = ("*",),
        api_version: str | None = None,
    ) -> Object:
        """Add a webhook endpoint with a given signing secret.

        Args:
            url: where events are POSTed; on this machine, unless the sandbox has
                `remote_webhooks`.
            secret: `whsec_…`, or several while a secret is being rolled.
            enabled_events: event types, or `*` for all.
            api_version: decides the shape of its events; None: the sandbox's own.

        Raises:
            StripeError: the URL is not allowed.
        """
        secrets = [secret] if isinstance(secret, str) else list(secret)
        endpoints = self._resources.webhook_endpoints
        return endpoints.add(url, secrets, list(enabled_events), api_version)

    def create_event_destination(
        self, url: str, secret: str | Sequence[str], enabled_events: Sequence[str] = ("*",)
    ) -> Object:
        """Add an event destination for thin events with a given signing secret.

        Args:
            url: where thin events are POSTed; on this machine, unless the sandbox has
                `remote_webhooks`.
            secret: `whsec_…`, or several while a secret is being rolled.
            enabled_events: types of thin events such as `v1.price.created`, or `*` for all.

        Raises:
            StripeError: the URL is not allowed.
        """
        secrets = [secret] if isinstance(secret, str) else list(secret)
        destinations = self._resources.event_destinations
        return destinations.add(url, secrets, list(enabled_events), name="Thin events")

    def confirm_payment(
        self, client_secret_or_id: str, card: str = "4242424242424242", **params: Any
    ) -> Object:
        """Confirm a PaymentIntent as Stripe.js does in the customer's browser.

        Args:
            client_secret_or_id: the PaymentIntent's client secret or identifier.
            card: a test card's number, or a test token such as `pm_card_visa`.
            params: any other parameter of the confirmation.

        Raises:
            SandboxCardError: the card was declined.
        """
        return confirm(self.call, self._find(intent_id(client_secret_or_id)), card, params)

    def confirm_setup(
        self, client_secret_or_id: str, card: str = "4242424242424242", **params: Any
    ) -> Object:
        """Confirm a SetupIntent as Stripe.js does in the customer's browser.

        Args:
            client_secret_or_id: the SetupIntent's client secret or identifier.
            card: a test card's number, or a test token such as `pm_card_visa`.
            params: any other parameter of the confirmation.

        Raises:
            SandboxCardError: the card was declined.
        """
        return confirm(self.call, self._find(intent_id(client_secret_or_id)), card, params)

    def authenticate(self, intent_id: str, accept: bool = True) -> Object:
        """Complete the authentication of a PaymentIntent or SetupIntent as its cardholder.

        Args:
            intent_id: `pi_…` or `seti_…`.
            accept: whether the cardholder accepts the payment.

        Raises:
            KeyError: there is no such intent.
            StripeError: the intent does not require authentication.
        """
        intent = self._find(intent_id)
        if intent["object"] == "setup_intent":
            self._resources.setup_intents.authenticate(intent, accept)
        else:
            self._resources.charging.authenticate(intent, accept)
        return self.get(intent_id)

    def renew(self, subscription_id: str, fail: bool = False) -> Object:
        """End a subscription's period now: bill the next one, or cancel if that was scheduled.

        Without a default payment method of the subscription or the customer, the payment fails,
        as at Stripe.

        Args:
            subscription_id: `sub_…`.
            fail: decline the payment, whatever the card.
        """
        self._resources.renewals.renew(self._find(subscription_id), fail=fail)
        return self.get(subscription_id)

    def advance(self, seconds: float) -> list[str]:
        """Move the clock forward, and renew, cancel or expire the subscriptions that are due.

        Returns:
            The identifiers of the subscriptions that have changed.
        """
        self.clock.advance(seconds)
        return self._resources.renewals.run_due()

    def forget_events(self) -> int:
        """Remove all events from the API, as Stripe does after 30 days; return their number."""
        events = list(self.backend.store.of_kind("event"))
        for event in events:
            self.backend.store.remove(event)
        return len(events)

    def pay_invoice(self, invoice_id: str, card: str = "4242424242424242") -> Object:
        """Pay an open invoice as its customer does on Stripe's hosted page.

        Args:
            invoice_id: `in_…`.
            card: a test card's number, or a test token.

        Returns:
            The invoice.

        Raises:
            SandboxCardError: the card was declined.
        """
        intent = self._resources.billing.intent_of(self._find(invoice_id))
        self.confirm_payment(intent["id"], card)
        return self.get(invoice_id)

    def cancel_subscription(self, subscription_id: str, now: bool = True) -> Object:
        """Cancel a subscription, now or at the end of its period."""
        path = f"/v1/subscriptions/{subscription_id}"
        if now:
            return self.call("DELETE", path)
        return self.call("POST", path, cancel_at_period_end=True)

    def refund(self, payment_intent_id: str, amount: int | None = None) -> Object:
        """Refund a PaymentIntent and return the refund.

        Args:
            payment_intent_id: `pi_…`.
            amount: in the currency's minor unit; None: all that is not refunded yet.
        """
        params = {} if amount is None else {"amount": amount}
        return self.call("POST", "/v1/refunds", payment_intent=payment_intent_id, **params)

    def settle_refund(self, refund_id: str, fail: bool = False) -> Object:
        """Complete a pending refund, or let a pending or succeeded refund fail.

        Args:
            refund_id: `re_…`.
            fail: let the refund fail.
        """
        self._resources.refunds.settle(self._find(refund_id), fail)
        return self.get(refund_id)

    def dispute(
        self, payment_intent_id: str, amount: int | None = None, inquiry: bool = False
    ) -> Object:
        """Dispute a PaymentIntent as its cardholder does, and return the dispute.

        Args:
            payment_intent_id: `pi_…`.
            amount: in the currency's minor unit; None: all that is not refunded.
            inquiry: open an inquiry, which withdraws no money until `escalate_dispute`.
        """
        intent = self._find(payment_intent_id)
        return self.get(self._resources.disputes.open(intent, amount, inquiry=inquiry)["id"])

    def escalate_dispute(self, dispute_id: str) -> Object:
        """Turn an inquiry into a dispute, which withdraws the money."""
        self._resources.disputes.escalate(self._find(dispute_id))
        return self.get(dispute_id)

    def close_dispute(self, dispute_id: str, won: bool) -> Object:
        """Decide a dispute as the bank does; a decided dispute can be decided again.

        Args:
            dispute_id: `du_…`.
            won: whether the merchant wins.
        """
        self._resources.disputes.decide(self._find(dispute_id), won)
        return self.get(dispute_id)
