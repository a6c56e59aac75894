"""Each planted fault is found, with the advice that fixes it, and nothing else is reported."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from inspect import isawaitable

import pytest

from datalayer_stripe.doctor.checks import Status
from datalayer_stripe.doctor.report import CHECKS
from datalayer_stripe.events import parse
from datalayer_stripe.handlers.urls import WEBHOOK_PATH
from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.store.event_records import DEFERRED
from datalayer_stripe.store.job_marks import Deferral
from datalayer_stripe.store.last_runs import AUDIT, RECONCILIATION
from datalayer_stripe.store.unit_of_work import UnitOfWork
from datalayer_stripe.stripe_api.account_probes import PERMISSION_PROBES
from tests.doctor.setup_scene import Scene, managed_with
from tests.support.app import UNREACHABLE_URL, WEBHOOK_SECRET, recorded

Plant = Callable[[Scene], Awaitable[None] | None]


@dataclass(frozen=True)
class PlantedFault:
    """A fault.

    Attributes:
        check: The check that finds it.
        text: A part of the finding.
        advice: A part of the advice.
        plant: Changes what is set up correctly.
    """

    check: str
    text: str
    advice: str
    plant: Plant


FAULTS: dict[str, PlantedFault] = {}


def fault(check: str, text: str, advice: str) -> Callable[[Plant], Plant]:
    """Register a function that plants a fault."""

    def register(plant: Plant) -> Plant:
        FAULTS[plant.__name__] = PlantedFault(check, text, advice, plant)
        return plant

    return register


# Settings


@fault("settings.variables", "DATALAYER_JWT_SECRET: is missing or blank", "its line says")
def missing_variable(scene: Scene) -> None:
    del scene.variables["DATALAYER_JWT_SECRET"]


@fault("settings.variables", "is a live key but DATALAYER_STRIPE_API_KEY is a test key", "Correct")
def publishable_key_of_other_mode(scene: Scene) -> None:
    scene.variables["DATALAYER_STRIPE_JS_API_KEY"] = "pk_live_0123456789"


@fault("settings.variables", "holds the id of a webhook endpoint, not its signing", "Correct")
def endpoint_id_instead_of_secret(scene: Scene) -> None:
    scene.variables["DATALAYER_STRIPE_WEBHOOK_SECRET"] = scene.endpoint


@fault("settings.variables", "holds a price id; the right value starts with prod_", "Correct")
def price_instead_of_product(scene: Scene) -> None:
    scene.variables["DATALAYER_STRIPE_TOPUP_PRODUCT_ID"] = scene.packages[0]


@fault(
    "settings.names",
    "no variable DATALAYER_STRIPE_NEGATIVE_BALANCES. Did you mean "
    "DATALAYER_STRIPE_NEGATIVE_BALANCE?",
    "Rename the variable",
)
def misspelt_variable(scene: Scene) -> None:
    scene.variables["DATALAYER_STRIPE_NEGATIVE_BALANCES"] = "debt"


@fault("settings.hidden-files", "other values: DATALAYER_JWT_SECRET.", "Remove the variable")
def variable_that_hides_a_secret_file(scene: Scene) -> None:
    scene.folder.mkdir()
    (scene.folder / "DATALAYER_JWT_SECRET").write_text("of the file", encoding="utf-8")
    scene.variables["DATALAYER_STRIPE_SECRETS_DIR"] = str(scene.folder)


@fault("settings.database-kept", "all credits are lost", "DATALAYER_STRIPE_MONGODB_URL")
def database_in_memory(scene: Scene) -> None:
    scene.variables["DATALAYER_STRIPE_MONGODB_URL"] = "memory://"


@fault("settings.stripe-address", "is not Stripe's own address", "Unset DATALAYER_STRIPE_API_BASE")
def live_key_with_other_address(scene: Scene) -> None:
    scene.variables["DATALAYER_STRIPE_API_KEY"] = "sk_live_0123456789"
    scene.variables["DATALAYER_STRIPE_JS_API_KEY"] = "pk_live_0123456789"
    scene.variables["DATALAYER_STRIPE_API_BASE"] = "https://127.0.0.1:9"  # the discard port


# Plugins


@fault("plugins.load", "extra.py cannot be loaded: ZeroDivisionError", "Do what the line says")
def broken_plugin(scene: Scene) -> None:
    scene.write_plugin("1 / 0\n")


@fault("plugins.money", "top-up-credits is disabled", "DATALAYER_STRIPE_PLUGINS_DISABLED")
def disabled_money_plugin(scene: Scene) -> None:
    scene.variables["DATALAYER_STRIPE_PLUGINS_DISABLED"] = "top-up-credits"
    # The type has another plugin, so that the endpoint is still right.
    scene.write_plugin(
        "from datalayer_stripe import Plugin\n"
        'plugin = Plugin("other")\n'
        '@plugin.on("payment_intent.succeeded")\n'
        "async def run(event, ctx):\n    pass\n"
    )


@fault("plugins.event-types", "no event type invoice.payed. Did you mean invoice.paid?", "Correct")
def misspelt_event_type(scene: Scene) -> None:
    scene.write_plugin(
        "from datalayer_stripe import Plugin\n"
        'plugin = Plugin("misspelt")\n'
        '@plugin.on("invoice.payed")\n'
        "async def run(event, ctx):\n    pass\n"
    )
    types = [*Registry.load().types, "invoice.payed"]
    scene.call(f"/v1/webhook_endpoints/{scene.endpoint}", enabled_events=types)


# Keys


@fault("key.reachable", "gives no answer (StripeNoResponse)", "DATALAYER_STRIPE_API_BASE")
def stripe_unreachable(scene: Scene) -> None:
    scene.variables["DATALAYER_STRIPE_API_BASE"] = UNREACHABLE_URL


@fault("key.accepted", "Stripe refuses the secret key", "wrong, expired or revoked")
def revoked_key(scene: Scene) -> None:
    scene.variables["DATALAYER_STRIPE_API_KEY"] = "sk_test_revoked"


@fault("key.permissions", "lacks the permission subscription_write (Subscriptions: Write)", "Edit")
def restricted_key_without_permission(scene: Scene) -> None:
    permissions = {*PERMISSION_PROBES, "webhook_read"} - {"subscription_write"}
    key = scene.sandbox.create_restricted_key(permissions)
    scene.variables["DATALAYER_STRIPE_API_KEY"] = key


@fault("key.publishable", "belongs to another Stripe account", "beside the secret key")
def publishable_key_of_other_account(scene: Scene) -> None:
    scene.variables["DATALAYER_STRIPE_JS_API_KEY"] = "pk_test_0fAnotherAccount"


@fault("key.one-mode", "is of live mode, and the secret key of test mode", "one mode only")
def object_of_other_mode(scene: Scene) -> None:
    scene.replace(scene.portal, livemode=True)


@fault("clock.skew", "s ahead of Stripe's", "chrony")
def wrong_clock(scene: Scene) -> None:
    scene.clock.advance(minutes=4)


# Catalog


@fault("catalog.products", "does not have prod_gone in test mode", "datalayer-stripe setup")
def deleted_product(scene: Scene) -> None:
    scene.variables["DATALAYER_STRIPE_SUBSCRIPTION_PRODUCT_ID"] = f"{scene.plan},prod_gone"


@fault("catalog.active", "is archived: nothing of it can be bought", "Unarchive")
def archived_product(scene: Scene) -> None:
    scene.call(f"/v1/products/{scene.credits}", active=False)


@fault("catalog.not-swapped", "is both the product of the packages and that of a plan", "Swap")
def same_product_twice(scene: Scene) -> None:
    both = f"{scene.plan},{scene.credits}"
    scene.variables["DATALAYER_STRIPE_SUBSCRIPTION_PRODUCT_ID"] = both


@fault("catalog.packages", "no package is for sale", "Add a one-time price")
def no_package(scene: Scene) -> None:
    for price in scene.packages:
        scene.sandbox.update_price(price, active=False)


@fault("catalog.package-prices", "has no fixed amount or no credits", "transform_quantity")
def package_without_credits(scene: Scene) -> None:
    scene.price(scene.credits, unit_amount=700)


@fault("catalog.package-prices", "is recurring: it is not sold as a package", "Archive the price")
def monthly_package(scene: Scene) -> None:
    scene.price(scene.credits, unit_amount=700, credits=70, recurring={"interval": "month"})


@fault("catalog.plans", "is active: nobody can subscribe", "Add a recurring price")
def no_plan(scene: Scene) -> None:
    scene.sandbox.update_price(scene.monthly, active=False)


@fault("catalog.plan-prices", "is not a fixed amount each month", "every month")
def yearly_plan(scene: Scene) -> None:
    scene.price(scene.plan, unit_amount=29000, recurring={"interval": "year"})


@fault("catalog.price-per-credit", "(600 credits) costs more than one of", "a digit may be missing")
def large_package_is_dear(scene: Scene) -> None:
    scene.package(50000, 600)


# Customer portal


@fault("portal.configuration", "Stripe does not have bpc_gone", "DATALAYER_STRIPE_CUST_PORTAL_ID")
def deleted_portal_configuration(scene: Scene) -> None:
    scene.variables["DATALAYER_STRIPE_CUST_PORTAL_ID"] = "bpc_gone"


@fault("portal.active", "is not active: the portal does not open", "to an active one")
def inactive_portal_configuration(scene: Scene) -> None:
    scene.replace(scene.portal, active=False)


@fault("portal.cancellation", "does not let people cancel", "Allow cancellations")
def portal_without_cancellation(scene: Scene) -> None:
    features = {"subscription_cancel": {"enabled": False}}
    scene.call(f"/v1/billing_portal/configurations/{scene.portal}", features=features)


@fault("portal.card", "does not let people change their card", "Allow changes of payment methods")
def portal_without_card_change(scene: Scene) -> None:
    features = {"payment_method_update": {"enabled": False}}
    scene.call(f"/v1/billing_portal/configurations/{scene.portal}", features=features)


@fault("portal.link", "is not the portal's public link", "DATALAYER_STRIPE_CUST_PORTAL_URL")
def link_of_other_portal(scene: Scene) -> None:
    link = "https://billing.stripe.com/p/login/test_other"
    scene.variables["DATALAYER_STRIPE_CUST_PORTAL_URL"] = link


@fault("portal.link", "public link is not enabled", "Activate the link")
def portal_without_link(scene: Scene) -> None:
    path = f"/v1/billing_portal/configurations/{scene.portal}"
    scene.call(path, login_page={"enabled": False})


# Webhook endpoint


@fault(
    "endpoint.exists",
    "No webhook endpoint has a URL that ends with /api/iam",
    "datalayer-stripe setup",
)
def no_endpoint(scene: Scene) -> None:
    scene.sandbox.call("DELETE", f"/v1/webhook_endpoints/{scene.endpoint}")


@fault("endpoint.url", "http://127.0.0.1:9/webhook, without /api/iam/stripe/v1/webhook", "Correct")
def endpoint_with_wrong_path(scene: Scene) -> None:
    scene.call(f"/v1/webhook_endpoints/{scene.endpoint}", url="http://127.0.0.1:9/webhook")


@fault(
    "endpoint.url",
    "/webhook, not https://pay.example.com/api/iam",
    "with the right `--url`",
)
def endpoint_of_other_host(scene: Scene) -> None:
    scene.url = f"https://pay.example.com{WEBHOOK_PATH}"


@fault("endpoint.single", "have the same URL", "Delete the endpoints")
def second_endpoint(scene: Scene) -> None:
    scene.add_endpoint()


@fault("endpoint.enabled", "is disabled: Stripe sends no events", "datalayer-stripe reconcile")
def disabled_endpoint(scene: Scene) -> None:
    scene.call(f"/v1/webhook_endpoints/{scene.endpoint}", disabled=True)


@fault("endpoint.secret", "None of the signing secrets in the settings", "webhook rotate")
def secret_of_other_endpoint(scene: Scene) -> None:
    scene.variables["DATALAYER_STRIPE_WEBHOOK_SECRET"] = "whsec_0fAnotherEndpoint0fAnother00"


@fault("endpoint.answers", "/api/iam/stripe/v1/webhook: ", "webhook test")
def other_server_at_url(scene: Scene) -> None:
    scene.serve_nothing()


@fault("endpoint.answers", "does not accept this signing secret", "webhook test")
def service_that_was_not_restarted(scene: Scene) -> None:
    scene.serve_webhook()
    secret = "whsec_newNewNewNewNewNewNewNewNew00"
    scene.variables["DATALAYER_STRIPE_WEBHOOK_SECRET"] += f",{secret}"
    scene.call(f"/v1/webhook_endpoints/{scene.endpoint}", metadata=managed_with(secret))


@fault("endpoint.enabled", "is disabled: Stripe sends no events", "webhook sync")
def disabled_thin_destination(scene: Scene) -> None:
    scene.send_thin_events_only()
    scene.sandbox.call("POST", f"/v2/core/event_destinations/{scene.destination}/disable")


@fault("endpoint.events", "is not sent payment_intent.succeeded", "webhook sync")
def thin_destination_without_event(scene: Scene) -> None:
    types = [one for one in Registry.load().types if one != "payment_intent.succeeded"]
    scene.send_thin_events_only(types)


@fault("endpoint.secret", "None of the signing secrets in the settings is that of ed_", "Set")
def secret_without_that_of_thin_destination(scene: Scene) -> None:
    scene.send_thin_events_only()
    scene.variables["DATALAYER_STRIPE_WEBHOOK_SECRET"] = WEBHOOK_SECRET


@fault("endpoint.events", "is not sent payment_intent.succeeded", "webhook sync")
def endpoint_without_event(scene: Scene) -> None:
    types = [one for one in Registry.load().types if one != "payment_intent.succeeded"]
    scene.call(f"/v1/webhook_endpoints/{scene.endpoint}", enabled_events=types)


@fault("endpoint.other-events", "is sent all events", "webhook sync")
def endpoint_with_all_events(scene: Scene) -> None:
    scene.call(f"/v1/webhook_endpoints/{scene.endpoint}", enabled_events=["*"])


@fault("endpoint.other-events", "is sent charge.captured, charge.expired", "webhook sync")
def endpoint_with_other_events(scene: Scene) -> None:
    types = [*Registry.load().types, "charge.captured", "charge.expired"]
    scene.call(f"/v1/webhook_endpoints/{scene.endpoint}", enabled_events=types)


@fault("endpoint.api-version", "has 2025-03-31.basil, not", "webhook rotate")
def endpoint_of_other_version(scene: Scene) -> None:
    scene.replace(scene.endpoint, api_version="2025-03-31.basil")


@fault("endpoint.deliveries", "1 event of the last three days is not delivered", "webhook test")
def undelivered_event(scene: Scene) -> None:
    scene.call(f"/v1/products/{scene.credits}", description="Credits for runs")
    event = scene.sandbox.events[-1]
    created = event["created"] - timedelta(hours=1).total_seconds()
    scene.sandbox.put_event({**event, "created": int(created), "pending_webhooks": 1})


# Events


@fault("events.rejected", "top-up-credits has rejected 1 event", "events list --rejected")
async def rejected_event(scene: Scene) -> None:
    await scene.fail_event(rejected=True)


@fault("events.failed", "top-up-credits has failed 1 event", "events list --failed")
async def failed_event(scene: Scene) -> None:
    await scene.fail_event(rejected=False)


@fault("events.pending", "1 job of the plugin receipts is due for more than an hour", "serve")
async def overdue_job(scene: Scene) -> None:
    event = parse(recorded("payment_intent.succeeded"))
    deferral = Deferral(event, "receipts", scene.clock() - timedelta(hours=2))
    await scene.store.commit(UnitOfWork(), deferral)
    assert (await scene.store.events.statuses(event.id)) == {"receipts": DEFERRED}


@fault("events.reconciliation", "The last successful reconciliation was 5 hours ago", "reconcile")
async def old_reconciliation(scene: Scene) -> None:
    await scene.store.last_runs.record(RECONCILIATION, scene.clock() - timedelta(hours=5))


@fault("events.audit", "The last audit has left 2 differences", "datalayer-stripe audit")
async def audit_with_differences(scene: Scene) -> None:
    await scene.store.last_runs.record(AUDIT, scene.clock(), problems=2)


@fault("events.audit", "The last audit was 40 days ago", "datalayer-stripe audit")
async def old_audit(scene: Scene) -> None:
    await scene.store.last_runs.record(AUDIT, scene.clock() - timedelta(days=40))


# Faults that another check notices, too.
ALSO_FOUND = {
    "live_key_with_other_address": {"key.reachable"},
    "same_product_twice": {"catalog.plan-prices"},
}


@pytest.mark.gen_test
async def test_correct_setup_has_no_problems(scene: Scene) -> None:
    findings = await scene.examine()
    assert [one for one in findings if one.is_problem] == []
    # The database of this test has no server.
    not_run = {one.check for one in findings if one.status is Status.NOT_RUN}
    assert not_run == {
        "database.majority",
        "database.members",
        "database.indexes",
        "database.disk",
        "database.oplog",
        "endpoint.answers",  # no service runs
        "events.audit",
    }


@pytest.mark.gen_test
async def test_key_that_may_not_read_endpoints_skips_their_checks(scene: Scene) -> None:
    key = scene.sandbox.create_restricted_key(PERMISSION_PROBES)
    scene.variables["DATALAYER_STRIPE_API_KEY"] = key
    findings = await scene.examine()
    assert [one for one in findings if one.is_problem] == []
    texts = {one.text for one in findings if one.check.startswith("endpoint.")}
    reason = "the key lacks the permission webhook_read (Webhook Endpoints: Read)"
    assert texts == {reason, "All recent events were delivered."}


@pytest.mark.gen_test
async def test_permissions_of_a_refused_key_are_not_checked(scene: Scene) -> None:
    scene.variables["DATALAYER_STRIPE_API_KEY"] = "sk_test_revoked"
    [found] = [one for one in await scene.examine() if one.check == "key.permissions"]
    assert (found.status, found.text) == (Status.NOT_RUN, "Stripe refuses the key")


@pytest.mark.parametrize("disables_endpoint", [True, False])
@pytest.mark.gen_test
async def test_thin_events_alone_or_in_addition_are_no_problem(
    scene: Scene, disables_endpoint: bool
) -> None:
    scene.send_thin_events_only(disables_endpoint=disables_endpoint)
    assert await scene.problems() == []


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.gen_test
async def test_planted_fault_is_found(scene: Scene, quick_retries: None, name: str) -> None:
    planted = FAULTS[name]
    result = planted.plant(scene)
    if isawaitable(result):
        await result
    problems = await scene.problems()
    found = [one for one in problems if one.check == planted.check]
    assert any(planted.text in one.text for one in found), problems
    assert all(planted.advice in (one.advice or "") for one in found)
    others = {one.check for one in problems} - {planted.check}
    assert others == ALSO_FOUND.get(name, set()), problems
    [check] = [one for one in CHECKS if one.name == planted.check]
    assert {one.status.value for one in found} == {check.severity.value}


def test_each_check_has_a_planted_fault() -> None:
    planted = {one.check for one in FAULTS.values()}
    # The faults of the database are planted on a real MongoDB, in test_database.py.
    assert planted == {one.name for one in CHECKS if not one.name.startswith("database.")}
