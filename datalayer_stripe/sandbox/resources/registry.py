"""All resources of one sandbox, wired together."""

from collections.abc import Iterator

from ..api.routes import Route
from ..engine.backend import Backend
from ..engine.billing import Billing
from ..engine.card_vault import CardVault
from ..engine.charging import Charging
from ..engine.lifecycle import SubscriptionLifecycle
from ..engine.renewals import Renewals
from .accounts import Accounts
from .catalog import Prices, Products
from .charges import Charges
from .customer_sessions import CustomerSessions
from .customers import Customers
from .disputes import Disputes
from .event_destinations import EventDestinations
from .events import Events
from .invoice_items import InvoiceItems
from .invoices import Invoices
from .payment_intents import PaymentIntents
from .payment_methods import PaymentMethods
from .portal import BillingPortal
from .refunds import Refunds
from .setup_intents import SetupIntents
from .subscriptions import Subscriptions
from .webhook_endpoints import WebhookEndpoints


class Resources:
    """The resources of the API, and the parts of the engine that they share.

    Args:
        backend: the sandbox's state.
        remote_webhooks: whether a webhook endpoint may be on another machine.
    """

    def __init__(self, backend: Backend, *, remote_webhooks: bool = False) -> None:
        vault = CardVault(backend)
        self.charging = Charging(backend, vault)
        self.billing = Billing(backend, self.charging)
        lifecycle = SubscriptionLifecycle(backend, self.billing)
        self.renewals = Renewals(backend, lifecycle, self.billing)
        self.setup_intents = SetupIntents(backend, vault)
        self.refunds = Refunds(backend, vault)
        self.disputes = Disputes(backend, vault)
        self.charging.observe(self.disputes)
        self.webhook_endpoints = WebhookEndpoints(backend, remote=remote_webhooks)
        self.event_destinations = EventDestinations(backend, remote=remote_webhooks)
        self.prices = Prices(backend)
        payment_methods = PaymentMethods(backend, vault)
        self._all = (
            Accounts(backend),
            Products(backend),
            self.prices,
            Customers(backend, vault, payment_methods),
            CustomerSessions(backend),
            payment_methods,
            PaymentIntents(backend, vault, self.charging),
            Charges(backend),
            self.refunds,
            self.disputes,
            self.setup_intents,
            Subscriptions(
                backend, vault, self.charging, self.billing, lifecycle, self.setup_intents
            ),
            Invoices(backend, vault, self.billing, lifecycle),
            InvoiceItems(backend),
            BillingPortal(backend),
            Events(backend),
            self.webhook_endpoints,
            self.event_destinations,
        )

    def routes(self) -> Iterator[Route]:
        """Iterate over the routes of all resources."""
        for resource in self._all:
            yield from resource.routes()
