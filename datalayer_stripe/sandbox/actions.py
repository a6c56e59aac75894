"""What tests, the panel and the pages do to a local Stripe: create, pay, refund, renew.

https://docs.stripe.com/sandboxes describes Stripe's own sandboxes, which need an account and a
network.
"""

import copy
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .api.browser import confirm, intent_id
from .api.dispatcher import ApiDispatcher
from .api.faults import ApiFaults
from .api.forms import encode
from .delivery.webhooks import DEFAULT_SCHEDULE, DEFAULT_TIMEOUT, Webhooks
from .engine.backend import Backend
from .engine.clock import Clock
from .engine.errors import StripeError
from .resources.registry import Resources
from .shapes.objects import Object


@dataclass(frozen=True)
class Shopfront:
    """The shop that uses the sandbox, as the panel shows it.

    Attributes:
        name: the text of the panel's link to the shop.
        url: the URL of the shop's page.
        facts: returns what to show next to the link, such as `{"Balance": "50 credits"}`; called
            once per second.
    """

    name: str
    url: str
    facts: Callable[[], Awaitable[dict[str, str]]]


class SandboxActions:
    """The state of a local Stripe and the actions on it, without the HTTP server.

    Attributes:
        backend: the objects, events, clock and identifiers.
        dispatcher: runs the operations of the API.
        webhooks: delivers the events, and simulates delivery faults.
        shop: the shop that the panel shows and links to; None if there is none.

    Args:
        secret_key: the secret API key; None generates a random one.
        publishable_key: the key that may retrieve and confirm intents by client secret; None
            generates a random one.
        clock: returns the time in epoch seconds.
        seed: makes identifiers reproducible.
        retry_schedule: seconds before each retry of a delivery.
        webhook_timeout: seconds within which an endpoint must answer.
        remote_webhooks: whether a webhook endpoint may be on another machine.
    """

    def __init__(
        self,
        secret_key: str | None = None,
        publishable_key: str | None = None,
        clock: Callable[[], float] = time.time,
        *,
        seed: int | None = None,
        retry_schedule: Sequence[float] = DEFAULT_SCHEDULE,
        webhook_timeout: float = DEFAULT_TIMEOUT,
        remote_webhooks: bool = False,
    ) -> None:
        self.backend = Backend(clock, seed)
        self._resources = Resources(self.backend, remote_webhooks=remote_webhooks)
        self.dispatcher = ApiDispatcher(
            self.backend,
            self._resources.routes(),
            secret_key or f"sk_test_{secrets.token_hex(16)}",
            publishable_key or f"pk_test_{secrets.token_hex(16)}",
        )
        self.webhooks = Webhooks(
            self.backend,
            self._resources.webhook_endpoints,
            schedule=retry_schedule,
            timeout=webhook_timeout,
        )
        self.shop: Shopfront | None = None

    @property
    def url(self) -> str:
        """The sandbox's base URL, such as `http://127.0.0.1:40123`; empty before `start`."""
        return self.backend.url

    @property
    def clock(self) -> Clock:
        """The sandbox's clock; `clock.advance(seconds)` moves it forward."""
        return self.backend.clock

    @property
    def api(self) -> ApiFaults:
        """The simulated faults of the API, and the record of the requests to it."""
        return self.dispatcher.faults

    @property
    def events(self) -> list[Object]:
        """All events, oldest first."""
        return self.backend.events

    @property
    def objects(self) -> list[Object]:
        """Copies of all objects except events, in the order of their creation."""
        return copy.deepcopy([one for one in self.backend.store if one["object"] != "event"])

    @property
    def secret_key(self) -> str:
        """The secret API key."""
        return self.dispatcher.secret_key

    @property
    def publishable_key(self) -> str:
        """The API key for browsers."""
        return self.dispatcher.publishable_key

    def call(self, method: str, path: str, **params: Any) -> Object:
        """Run an operation of the API in this process, as with the secret key.

        Args:
            method: the HTTP method.
            path: the URL's path, such as `/v1/prices`.
            params: the parameters, as Python values.

        Raises:
            StripeError: the API answers with an error.
        """
        match = self.dispatcher.router.match(method, path)
        if match is None:
            raise StripeError(404, f"Unrecognized request URL ({method}: {path}).")
        return self.dispatcher.run(match, encode(params))

    def get(self, object_id: str) -> Object:
        """Return a copy of an object.

        Raises:
            KeyError: there is no object with this identifier.
        """
        return copy.deepcopy(self._find(object_id))

    def knows(self, object_id: str) -> bool:
        """Return whether there is an object with this identifier."""
        return self.backend.store.find(object_id) is not None

    def put(self, obj: Object) -> Object:
        """Store a Stripe object unchanged, such as a recorded one."""
        return self.backend.store.put(copy.deepcopy(obj))

    def put_event(self, event: Object) -> Object:
        """Store an event unchanged, without sending it; `webhooks.deliver` sends it."""
        stored = self.put(event)
        self.backend.events.append(stored)
        return stored

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
        kept = list(self.backend.store.of_kind("event"))
        for event in kept:
            self.backend.store.remove(event)
        return len(kept)

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

    def _find(self, object_id: str) -> Object:
        found = self.backend.store.find(object_id)
        if found is None:
            raise KeyError(object_id)
        return found
