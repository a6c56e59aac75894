"""All resources of one sandbox, wired together."""

from collections.abc import Callable, Mapping
from typing import Any

from .backend import Backend
from .billing import Billing
from .catalog import Prices, Products
from .charges import Charges, Refunds
from .charging import Charging
from .customers import Customers
from .disputes import Disputes
from .endpoints import Events, WebhookEndpoints
from .errors import StripeError
from .expand import check_depth, expand
from .faults import ApiFaults, Call
from .idempotency import IdempotencyKeys
from .invoices import Invoices
from .params import list_of, string
from .payment_intents import PaymentIntents
from .payment_methods import PaymentMethods
from .portal import BillingPortal
from .renewals import Renewals
from .routes import Match, Router
from .setup_intents import SetupIntents
from .state import Object
from .subscriptions import Subscriptions
from .versions import render

_EXPAND = list_of(string)


class Engine:
    """The API behind its HTTP surface: what it knows, and what it runs."""

    def __init__(
        self,
        secret_key: str,
        publishable_key: str,
        clock: Callable[[], float],
        seed: int | None = None,
        *,
        remote_webhooks: bool = False,
    ) -> None:
        self.secret_key = secret_key
        self.publishable_key = publishable_key
        self.backend = backend = Backend(clock, seed)
        self.faults = ApiFaults()
        self.idempotency = IdempotencyKeys(backend.clock)
        self.endpoints = WebhookEndpoints(backend, remote=remote_webhooks)
        methods = PaymentMethods(backend)
        self.charging = Charging(backend, methods)
        intents = PaymentIntents(backend, methods, self.charging)
        self.setup_intents = SetupIntents(backend, methods)
        self.billing = billing = Billing(backend, intents, self.charging)
        subscriptions = Subscriptions(backend, methods, self.charging, billing, self.setup_intents)
        self.renewals = Renewals(backend, subscriptions, billing)
        self.refunds = Refunds(backend, methods)
        self.disputes = Disputes(backend, methods)
        self.charging.observe(self.disputes)
        resources = (
            Products(backend),
            Prices(backend),
            Customers(backend, methods),
            methods,
            intents,
            Charges(backend),
            self.refunds,
            self.disputes,
            self.setup_intents,
            subscriptions,
            Invoices(backend, methods, billing, subscriptions),
            BillingPortal(backend),
            Events(backend),
            self.endpoints,
        )
        self.router = Router(route for resource in resources for route in resource.routes())

    def run(self, match: Match, params: Mapping[str, Any], version: str | None = None) -> Object:
        """Run an operation and return its answer, expanded, in the shape of an API version.

        Raises:
            StripeError: as the API answers it.
        """
        store = self.backend.store
        paths = _EXPAND(params.get("expand", ""), "expand")
        check_depth(paths)
        answer = match.run(params)
        try:
            expanded = expand(store, answer, paths)
        except StripeError as error:
            error.executed = True  # a repetition with the same key must not execute it again
            raise
        return dict(render(store, expanded, version))

    def record_call(
        self, method: str, path: str, idempotency_key: str | None, status: int | None
    ) -> None:
        """Record a request to the API."""
        self.faults.calls.append(Call(method, path, idempotency_key, status))
