"""The composition root: build the parts of a service, and pass them to each other."""

from .administration.administration import Administration
from .auth import BearerTokens
from .billing.cards import Cards
from .billing.catalog import Catalog
from .billing.checkout import Checkout
from .billing.configuration_faults import ConfigurationFaults
from .billing.credit_status import CreditStatuses
from .billing.customers import Customers
from .billing.history import History
from .billing.idempotency import IdempotentRequests
from .billing.open_payment_intents import OpenPaymentIntents
from .billing.plans import Plans
from .billing.portal import Portal
from .billing.reversals import Reversals
from .billing.subscriptions import Subscriptions
from .billing.top_ups import TopUps
from .clock import Clock, system_clock
from .configuration import PluginSettings
from .doctor.startup import CheckResults
from .errors import SettingsError
from .events import PAYMENT_SUCCEEDED
from .limits import AccountRateLimiter
from .metrics import Metrics
from .metrics.event_loop import EventLoopMonitor
from .plugin_api.context import ContextFactory
from .plugin_api.lifespan import Lifespans
from .plugin_api.registry import Registry
from .plugin_api.settings import read_plugin_settings
from .reconciliation.on_demand import TopUpStatuses
from .service import Service
from .settings import Settings, read_environment
from .store import Store, connect
from .store.readiness import DatabaseProbe
from .stripe_api.client import StripeClient
from .stripe_api.permits import CallRates
from .stripe_api.rate_limit import CallLimiter
from .tracing import NO_TRACER, Tracer
from .webhooks.delivery import Deliveries
from .webhooks.observers import Observers
from .webhooks.open_events import OpenEvents
from .webhooks.processor import EventProcessor
from .webhooks.runner import Runner
from .webhooks.thin_deliveries import ThinDeliveries
from .webhooks.worker import Worker


async def open_service(
    settings: Settings,
    *,
    registry: Registry | None = None,
    plugin_settings: PluginSettings | None = None,
    metrics: Metrics | None = None,
    clock: Clock = system_clock,
    store: Store | None = None,
    stripe: StripeClient | None = None,
    tracer: Tracer = NO_TRACER,
) -> Service:
    """Connect to the database, and build a service. Nothing runs before :meth:`Service.start`.

    Args:
        settings: The settings.
        registry: The plugins; by default the installed ones and those of the settings' folder.
        plugin_settings: The plugins' own settings; by default those of the environment.
        metrics: The metrics; by default new ones.
        clock: Returns the present time.
        store: Replaces the database of the settings. The service closes it.
        stripe: Replaces the client of Stripe's API. The service closes it.
        tracer: Records spans; by default there are none.

    Returns:
        The service.

    Raises:
        StartError: The service cannot start. The message says what to do.
        SettingsError: Settings of plugins are missing or not valid.
    """
    if registry is None:
        registry = Registry.load(settings.stripe_plugins_dir, settings.stripe_plugins_disabled)
    if plugin_settings is None:
        environment = read_environment(folder=settings.stripe_secrets_dir)
        plugin_settings, faults = read_plugin_settings(registry.plugins, environment.values)
        if faults:
            raise SettingsError(faults)
    metrics = metrics or Metrics()
    store = store or await connect(
        settings.stripe_mongodb_url.get_secret_value(),
        livemode=settings.livemode,
        driver=settings.stripe_mongodb_driver,
        metrics=metrics,
        tracer=tracer,
    )
    stripe = stripe or StripeClient(
        settings.stripe_api_key.get_secret_value(),
        metrics=metrics,
        api_base=settings.stripe_api_base,
        limiter=call_limiter(settings, store),
    )
    product_ids = settings.stripe_subscription_product_ids
    configuration_faults = ConfigurationFaults()
    catalog = Catalog(
        stripe,
        topup_product_id=settings.stripe_topup_product_id,
        subscription_product_ids=product_ids,
        faults=configuration_faults,
    )
    requests = IdempotentRequests(store, clock)
    customers = Customers(store, stripe, clock, requests)
    rate_limiter = AccountRateLimiter(
        burst=settings.stripe_account_burst,
        interval=settings.stripe_account_interval,
        max_accounts=settings.stripe_max_tracked_accounts,
    )
    subscriptions = Subscriptions(store, stripe, catalog, clock, product_ids, rate_limiter)
    plans = Plans(store, stripe, catalog, customers, subscriptions, requests)
    cards = Cards(store, stripe, customers, subscriptions, plans)
    credit_statuses = CreditStatuses(store, registry.money_on(PAYMENT_SUCCEEDED))
    checkout = Checkout(
        store,
        catalog,
        customers,
        subscriptions,
        OpenPaymentIntents(store, stripe, clock, credit_statuses, requests),
        refuse_disputed=settings.stripe_topup_during_dispute == "refuse",
    )
    topups = TopUps(store, stripe)
    reversals = Reversals(store, stripe, credit_statuses)
    contexts = ContextFactory(
        store=store,
        stripe=stripe,
        catalog=catalog,
        topups=topups,
        plans=plans,
        cards=cards,
        subscriptions=subscriptions,
        reversals=reversals,
        metrics=metrics,
        plugin_settings=plugin_settings,
        floor_balances=settings.stripe_negative_balance == "debt",
    )
    runner = Runner(store, contexts, metrics, clock)
    observers = Observers()
    worker = Worker(store, registry, runner, metrics, clock, observers, tracer)
    processor = EventProcessor(
        store,
        stripe,
        registry,
        runner,
        metrics,
        clock,
        observers,
        max_deliveries=settings.stripe_max_deliveries,
        on_deferred=worker.wake,
        livemode=settings.livemode,
        tracer=tracer,
    )
    deliveries = Deliveries(
        processor,
        ThinDeliveries(store, stripe, registry, processor),
        clock,
        observers,
        secrets=settings.stripe_webhook_secrets,
        livemode=settings.livemode,
    )
    return Service(
        settings=settings,
        clock=clock,
        store=store,
        stripe=stripe,
        metrics=metrics,
        registry=registry,
        bearer_tokens=BearerTokens(
            settings.jwt_secret, settings.jwt_algorithm, settings.accepted_issuers, clock
        ),
        rate_limiter=rate_limiter,
        catalog=catalog,
        configuration_faults=configuration_faults,
        customers=customers,
        subscriptions=subscriptions,
        plans=plans,
        cards=cards,
        checkout=checkout,
        topups=topups,
        credit_statuses=credit_statuses,
        reversals=reversals,
        portal=Portal(
            stripe,
            customers,
            configuration_id=settings.stripe_cust_portal_id,
            url=settings.stripe_cust_portal_url,
            faults=configuration_faults,
        ),
        history=History(store, stripe, rate_limiter),
        observers=observers,
        processor=processor,
        deliveries=deliveries,
        topup_statuses=TopUpStatuses(store, stripe, deliveries, credit_statuses, rate_limiter),
        lifespans=Lifespans(registry, contexts),
        worker=worker,
        database_probe=DatabaseProbe(store),
        open_events=OpenEvents(store, registry, metrics, clock),
        event_loop_monitor=EventLoopMonitor(metrics),
        check_results=CheckResults(),
        administration=Administration.of(settings, store, processor, clock),
    )


def call_limiter(settings: Settings, store: Store | None) -> CallLimiter:
    """Return what limits the calls to Stripe, over all processes that share a database.

    Args:
        settings: The settings.
        store: The database, or None if there is none.
    """
    rates = CallRates.allowed_by(settings.stripe_requests_per_second, livemode=settings.livemode)
    if store is None or store.in_memory:
        return CallLimiter(rates)
    return CallLimiter(rates, shared=store.stripe_permits)
