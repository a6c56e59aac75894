"""A local Stripe: the Python interface.

https://docs.stripe.com/sandboxes is Stripe's own, which needs an account and a network.
"""

import copy
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from .browser import confirm, intent_id
from .clock import Clock
from .control import control_handlers
from .engine import Engine
from .errors import StripeError
from .faults import ApiFaults
from .forms import encode
from .http import api_handlers
from .overview import Shopfront
from .pages import page_handlers
from .portal_pages import portal_handlers
from .state import Object
from .web import web_handlers
from .webhooks import DEFAULT_SCHEDULE, DEFAULT_TIMEOUT, Webhooks


class Sandbox:
    """A stateful Stripe for tests and demonstrations, which the stock Stripe SDK talks to.

    Attributes:
        url: where it listens, such as `http://127.0.0.1:40123`; empty before `start`.
        clock: its time; `clock.advance(seconds)` moves it forward.
        webhooks: the delivery of events, and its troubles.
        api: the API's troubles, and the record of the calls to it.
        shop: what the panel shows of the shop that this Stripe serves, and where it leads back
            to; None until somebody sets it.

    Args:
        secret_key: the key the API takes; None makes a random one.
        publishable_key: the key that may retrieve and confirm intents by client secret; None
            makes a random one.
        clock: epoch seconds.
        seed: makes identifiers repeatable.
        retry_schedule: seconds before each retry of a delivery.
        webhook_timeout: seconds an endpoint may take to answer.
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
        self._engine = Engine(
            secret_key or f"sk_test_{secrets.token_hex(16)}",
            publishable_key or f"pk_test_{secrets.token_hex(16)}",
            clock,
            seed,
            remote_webhooks=remote_webhooks,
        )
        self._backend = self._engine.backend
        self.webhooks = Webhooks(
            self._backend,
            self._engine.endpoints,
            schedule=retry_schedule,
            timeout=webhook_timeout,
        )
        self.shop: Shopfront | None = None
        self._server: HTTPServer | None = None

    @property
    def url(self) -> str:
        """Where the sandbox listens."""
        return self._backend.url

    @property
    def clock(self) -> Clock:
        """The sandbox's time."""
        return self._backend.clock

    @property
    def api(self) -> ApiFaults:
        """The API's troubles and the record of its calls."""
        return self._engine.faults

    @property
    def events(self) -> list[Object]:
        """All events, oldest first."""
        return self._backend.events

    @property
    def objects(self) -> list[Object]:
        """Copies of all objects but the events, in the order in which they were made."""
        return copy.deepcopy([one for one in self._backend.store if one["object"] != "event"])

    @property
    def secret_key(self) -> str:
        """The key that the API takes."""
        return self._engine.secret_key

    @property
    def publishable_key(self) -> str:
        """The key that a browser uses."""
        return self._engine.publishable_key

    async def start(self, port: int = 0, address: str = "127.0.0.1") -> None:
        """Listen on a port (0: a free one) and begin to deliver events."""
        handlers = [
            *api_handlers(self._engine),
            *control_handlers(self),
            *page_handlers(self),
            *portal_handlers(self),
            *web_handlers(),
        ]
        self._server = HTTPServer(Application(handlers, log_function=_log_nothing))
        sockets = bind_sockets(port, address)
        self._backend.url = f"http://{address}:{sockets[0].getsockname()[1]}"
        self._server.add_sockets(sockets)
        await self.webhooks.start()

    async def stop(self) -> None:
        """Stop listening, cancel pending deliveries and close all connections."""
        await self.webhooks.stop()
        if self._server is not None:
            self._server.stop()
            await self._server.close_all_connections()
            self._server = None

    def call(self, method: str, path: str, **params: Any) -> Object:
        """Run an operation of the API in this process, as with the secret key.

        Raises:
            StripeError: as the API answers it.
        """
        match = self._engine.router.match(method, path)
        if match is None:
            raise StripeError(404, f"Unrecognized request URL ({method}: {path}).")
        return self._engine.run(match, encode(params))

    def get(self, object_id: str) -> Object:
        """Return an object by its identifier.

        Raises:
            KeyError: there is none.
        """
        return copy.deepcopy(self._find(object_id))

    def knows(self, object_id: str) -> bool:
        """Whether there is an object of this identifier."""
        return self._backend.store.find(object_id) is not None

    def put(self, obj: Object) -> Object:
        """Store a Stripe object as it is, such as a recorded one."""
        return self._backend.store.put(copy.deepcopy(obj))

    def put_event(self, event: Object) -> Object:
        """Store an event as it is; `webhooks.deliver` sends it."""
        stored = self.put(event)
        self._backend.events.append(stored)
        return stored

    def create_product(self, *, name: str, **params: Any) -> Object:
        """Create a product."""
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
            currency: three letters.
            credits: how many credits one unit buys, as `transform_quantity`.
            params: any other parameter of Stripe's.
        """
        if credits is not None:
            params["transform_quantity"] = {"divide_by": credits, "round": "up"}
        return self.call(
            "POST",
            "/v1/prices",
            product=product,
            unit_amount=unit_amount,
            currency=currency,
            **params,
        )

    def update_price(self, price_id: str, **params: Any) -> Object:
        """Change a price: `active`, `nickname`, `metadata`, `lookup_key`."""
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
        """Add an endpoint with a known secret, or several while one is being rolled.

        Args:
            url: where events are POSTed; on this machine, unless the sandbox has
                `remote_webhooks`.
            secret: `whsec_…`, one or several.
            enabled_events: event types, or `*` for all.
            api_version: decides the shape of its events; None: the sandbox's own.

        Raises:
            StripeError: the URL is not allowed.
        """
        secrets = [secret] if isinstance(secret, str) else list(secret)
        return self._engine.endpoints.add(url, secrets, list(enabled_events), api_version)

    def confirm_payment(
        self, client_secret_or_id: str, card: str = "4242424242424242", **params: Any
    ) -> Object:
        """Confirm a PaymentIntent as Stripe.js does in the payer's browser.

        Args:
            client_secret_or_id: of the PaymentIntent.
            card: a test card's number, or a test token such as `pm_card_visa`.
            params: any other parameter of the confirmation.

        Raises:
            SandboxCardError: the card was declined.
        """
        return confirm(self.call, self._find(intent_id(client_secret_or_id)), card, params)

    def confirm_setup(
        self, client_secret_or_id: str, card: str = "4242424242424242", **params: Any
    ) -> Object:
        """Confirm a SetupIntent as Stripe.js does; see `confirm_payment`.

        Raises:
            SandboxCardError: the card was declined.
        """
        return confirm(self.call, self._find(intent_id(client_secret_or_id)), card, params)

    def authenticate(self, intent_id: str, accept: bool = True) -> Object:
        """End the authentication of a PaymentIntent or SetupIntent as its cardholder does.

        Raises:
            KeyError: there is no such intent.
            StripeError: it does not wait for authentication.
        """
        intent = self._find(intent_id)
        if intent["object"] == "setup_intent":
            self._engine.setup_intents.authenticate(intent, accept)
        else:
            self._engine.charging.authenticate(intent, accept)
        return self.get(intent_id)

    def renew(self, subscription_id: str, fail: bool = False) -> Object:
        """End a subscription's period now: bill the next one, or cancel if that was scheduled.

        Without a default payment method (the subscription's or the customer's) the payment
        fails, as it does at Stripe; `fail` declines it whatever the card.
        """
        self._engine.renewals.renew(self._find(subscription_id), fail=fail)
        return self.get(subscription_id)

    def advance(self, seconds: float) -> list[str]:
        """Move the time forward and let happen what falls due.

        Returns:
            The identifiers of the subscriptions renewed, canceled or expired.
        """
        self.clock.advance(seconds)
        return self._engine.renewals.catch_up()

    def forget_events(self) -> int:
        """Let the API forget all events, as Stripe does after 30 days; how many there were."""
        kept = list(self._backend.store.of_kind("event"))
        for event in kept:
            self._backend.store.remove(event)
        return len(kept)

    def pay_invoice(self, invoice_id: str, card: str = "4242424242424242") -> Object:
        """Pay an open invoice as its customer does on Stripe's hosted page; return the invoice.

        Raises:
            SandboxCardError: the card was declined.
        """
        intent = self._engine.billing.intent_of(self._find(invoice_id))
        self.confirm_payment(intent["id"], card)
        return self.get(invoice_id)

    def cancel_subscription(self, subscription_id: str, now: bool = True) -> Object:
        """Cancel a subscription now, or at the end of its period."""
        path = f"/v1/subscriptions/{subscription_id}"
        if now:
            return self.call("DELETE", path)
        return self.call("POST", path, cancel_at_period_end=True)

    def refund(self, payment_intent_id: str, amount: int | None = None) -> Object:
        """Refund a PaymentIntent, whole or in part; return the refund."""
        params = {} if amount is None else {"amount": amount}
        return self.call("POST", "/v1/refunds", payment_intent=payment_intent_id, **params)

    def settle_refund(self, refund_id: str, fail: bool = False) -> Object:
        """End a pending refund; with `fail` let it, or one that had succeeded, fail."""
        self._engine.refunds.settle(self._find(refund_id), fail)
        return self.get(refund_id)

    def dispute(
        self, payment_intent_id: str, amount: int | None = None, inquiry: bool = False
    ) -> Object:
        """Dispute a PaymentIntent as its cardholder does; return the dispute.

        Without an amount it is for what has not been refunded.
        An inquiry takes no money, unless `escalate_dispute` makes a dispute of it.
        """
        intent = self._find(payment_intent_id)
        return self.get(self._engine.disputes.open(intent, amount, inquiry=inquiry)["id"])

    def escalate_dispute(self, dispute_id: str) -> Object:
        """Let an inquiry become a dispute that takes the money."""
        self._engine.disputes.escalate(self._find(dispute_id))
        return self.get(dispute_id)

    def close_dispute(self, dispute_id: str, won: bool) -> Object:
        """Let the bank decide a dispute, also one that it has decided before."""
        self._engine.disputes.decide(self._find(dispute_id), won)
        return self.get(dispute_id)

    def _find(self, object_id: str) -> Object:
        found = self._backend.store.find(object_id)
        if found is None:
            raise KeyError(object_id)
        return found


def _log_nothing(_handler: RequestHandler) -> None:
    """Keep each request of a test out of its log: `api.calls` records them."""
