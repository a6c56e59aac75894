"""The set-up plans only what differs, changes only that, and can be repeated."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from pydantic import SecretStr
from tornado.ioloop import IOLoop

from datalayer_stripe.errors import FileChanged, SetupError, StripeUnavailable
from datalayer_stripe.metrics import Metrics
from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.provisioning.endpoint_base import MANAGED_BY
from datalayer_stripe.provisioning.env_file import EnvFile
from datalayer_stripe.provisioning.event_destination import list_destinations
from datalayer_stripe.provisioning.offers import Offer, Offers
from datalayer_stripe.provisioning.setup import SetupRequest, plan_setup
from datalayer_stripe.provisioning.steps import (
    Action,
    Result,
    Save,
    Step,
    Variables,
    apply_steps,
)
from datalayer_stripe.provisioning.webhook_endpoints import parse_endpoint
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.stripe_api.client import StripeClient
from datalayer_stripe.stripe_api.transport import STRIPE_VERSION
from tests.support.shop import objects

URL = "http://127.0.0.1:9/api/iam/stripe/v1/webhook"
EVENTS = tuple(Registry.load().types)

FIFTY, MANY = Offer.package("usd", 500, 50), Offer.package("usd", 2000, 220)
MONTHLY = Offer.plan("usd", 2900)
OFFERS = Offers([FIFTY, MANY], MONTHLY)
NO_OFFERS = Offers([], None)

PRODUCT = "DATALAYER_STRIPE_TOPUP_PRODUCT_ID"
PLAN_PRODUCT = "DATALAYER_STRIPE_SUBSCRIPTION_PRODUCT_ID"
PORTAL = "DATALAYER_STRIPE_CUST_PORTAL_ID"
PORTAL_URL = "DATALAYER_STRIPE_CUST_PORTAL_URL"
SECRET = "DATALAYER_STRIPE_WEBHOOK_SECRET"


class Operator:
    """Runs the set-up. `variables` is what the environment file contains."""

    def __init__(self, client: StripeClient, sandbox: Sandbox) -> None:
        self.client = client
        self.sandbox = sandbox
        self.variables: dict[str, str] = {}

    async def plan(self, offers: Offers = OFFERS, url: str | None = URL) -> list[Step]:
        return await plan_setup(self.client, SetupRequest(offers, url, EVENTS, self.variables))

    async def plan_all(self) -> list[Step]:
        """Return the steps of a set-up with thin events."""
        request = SetupRequest(OFFERS, URL, EVENTS, self.variables, thin=True)
        return await plan_setup(self.client, request)

    async def set_up(self, offers: Offers = OFFERS, url: str | None = URL) -> list[Result]:
        return await self.apply(await self.plan(offers, url))

    async def apply(self, steps: Sequence[Step], save: Save | None = None) -> list[Result]:
        results: list[Result] = []
        returned = await apply_steps(
            steps,
            save=save or self.variables.update,
            on_result=results.append,
        )
        assert returned == results
        return results

    def active_prices(self) -> list[tuple[int, int | None]]:
        """Return amount and credits of each active price of the account."""
        return sorted(
            (price["unit_amount"], (price["transform_quantity"] or {}).get("divide_by"))
            for price in objects(self.sandbox, "/v1/prices", active=True)
        )

    def writes(self) -> int:
        return sum(call.method != "GET" for call in self.sandbox.api.calls)


@pytest.fixture
def new_operator(
    io_loop: IOLoop, sandbox: Sandbox, quick_retries: None
) -> Iterator[Callable[[str], Operator]]:
    """Return a function that creates an operator with a key."""
    clients: list[StripeClient] = []

    def create(key: str) -> Operator:
        clients.append(StripeClient(key, metrics=Metrics(), api_base=sandbox.url))
        return Operator(clients[-1], sandbox)

    yield create
    for client in clients:
        io_loop.run_sync(client.close)


@pytest.fixture
def operator(new_operator: Callable[[str], Operator], sandbox: Sandbox) -> Operator:
    return new_operator(sandbox.secret_key)


def actions(steps: Sequence[Step]) -> list[tuple[str, str]]:
    return [(step.action, step.subject) for step in steps]


def changed(steps: Sequence[Step]) -> list[tuple[str, str, str]]:
    return [(one.action, one.subject, one.detail) for one in steps if one.run is not None]


@pytest.mark.gen_test
async def test_empty_account_is_set_up_completely(operator: Operator, sandbox: Sandbox) -> None:
    assert actions(await operator.plan()) == [
        ("create", "product of the packages"),
        ("create", "package"),
        ("create", "package"),
        ("create", "product of the plan"),
        ("create", "plan"),
        ("create", "customer portal"),
        ("create", "webhook endpoint"),
    ]
    assert operator.writes() == 0

    results = await operator.set_up()
    assert [one.problem for one in results] == [""] * 7
    assert operator.active_prices() == [(500, 50), (2000, 220), (2900, None)]
    [endpoint] = objects(sandbox, "/v1/webhook_endpoints")
    assert (endpoint["url"], endpoint["api_version"]) == (URL, STRIPE_VERSION)
    assert sorted(endpoint["enabled_events"]) == sorted(EVENTS)
    [portal] = objects(sandbox, "/v1/billing_portal/configurations")
    assert portal["features"]["subscription_cancel"]["enabled"]
    assert portal["features"]["payment_method_update"]["enabled"]
    assert parse_endpoint(endpoint).has_secret(SecretStr(operator.variables[SECRET]))
    products = {
        key: objects(sandbox, "/v1/prices", lookup_keys=[key])[0]["product"]
        for key in (FIFTY.lookup_key, MONTHLY.lookup_key)
    }
    assert operator.variables == {
        PRODUCT: products[FIFTY.lookup_key],
        PLAN_PRODUCT: products[MONTHLY.lookup_key],
        PORTAL: portal["id"],
        PORTAL_URL: portal["login_page"]["url"],
        SECRET: operator.variables[SECRET],
    }


@pytest.mark.parametrize("offers", [OFFERS, NO_OFFERS])
@pytest.mark.gen_test
async def test_second_run_changes_nothing(operator: Operator, offers: Offers) -> None:
    await operator.set_up()
    before, writes = dict(operator.variables), operator.writes()
    steps = await operator.plan(offers)
    assert {step.action for step in steps} == {Action.UNCHANGED}
    assert len(steps) == 7
    assert await operator.set_up(offers) == []
    assert operator.writes() == writes
    assert operator.variables == before


@pytest.mark.gen_test
async def test_two_runs_at_once_create_one_of_each(
    new_operator: Callable[[str], Operator], sandbox: Sandbox
) -> None:
    operators = [new_operator(sandbox.secret_key) for _ in range(2)]
    plans = [await one.plan_all() for one in operators]  # both see an empty account
    for results in await asyncio.gather(*map(Operator.apply, operators, plans)):
        assert [one.problem for one in results] == [""] * 8
    assert len(objects(sandbox, "/v1/products")) == 2
    assert operators[0].active_prices() == [(500, 50), (2000, 220), (2900, None)]
    assert len(objects(sandbox, "/v1/billing_portal/configurations")) == 1
    [endpoint] = objects(sandbox, "/v1/webhook_endpoints")
    [destination] = await list_destinations(operators[0].client)
    assert operators[0].variables == operators[1].variables
    secrets = [SecretStr(one) for one in operators[0].variables[SECRET].split(",")]
    assert [parse_endpoint(endpoint).has_secret(one) for one in secrets] == [False, True]
    assert [destination.has_secret(one) for one in secrets] == [True, False]
    assert changed(await operators[0].plan_all()) == []


@pytest.mark.gen_test
async def test_two_runs_at_once_with_one_file_keep_the_endpoint_whose_secret_is_in_it(
    new_operator: Callable[[str], Operator], sandbox: Sandbox, tmp_path: Path
) -> None:
    operators = [new_operator(sandbox.secret_key) for _ in range(2)]
    await operators[0].set_up(url=None)
    files = [EnvFile.read(tmp_path / "shop.env") for _ in operators]

    def save_to(file: EnvFile) -> Save:
        def save(variables: Variables) -> None:
            if SECRET in variables:
                file.set(SECRET, variables[SECRET])
                file.write()

        return save

    plans = [await one.plan() for one in operators]
    runs = [
        one.apply(*rest) for one, *rest in zip(operators, plans, map(save_to, files), strict=True)
    ]
    ended = await asyncio.gather(*runs, return_exceptions=True)
    assert [type(one) for one in ended if isinstance(one, Exception)] == [FileChanged]
    [endpoint] = objects(sandbox, "/v1/webhook_endpoints")
    secret = EnvFile.read(tmp_path / "shop.env").get(SECRET)
    assert secret is not None
    assert parse_endpoint(endpoint).has_secret(SecretStr(secret))


@pytest.mark.gen_test
async def test_what_was_deleted_or_given_away_is_created_again(
    operator: Operator, sandbox: Sandbox
) -> None:
    await operator.apply(await operator.plan_all())
    before = dict(operator.variables)
    [endpoint] = objects(sandbox, "/v1/webhook_endpoints")
    [destination] = await list_destinations(operator.client)
    for path in (
        f"/v1/webhook_endpoints/{endpoint['id']}",
        f"/v2/core/event_destinations/{destination.id}",
    ):
        sandbox.call("DELETE", path)
    for path in (
        f"/v1/products/{before[PRODUCT]}",
        f"/v1/billing_portal/configurations/{before[PORTAL]}",
    ):
        sandbox.call("POST", path, metadata={MANAGED_BY: ""})
    operator.variables.clear()
    results = await operator.apply(await operator.plan_all())
    assert {one.problem for one in results} == {""}
    assert operator.variables.keys() == before.keys()
    for name in (PRODUCT, PORTAL, SECRET):
        assert operator.variables[name] != before[name]
    assert changed(await operator.plan_all()) == []


@pytest.mark.gen_test
async def test_refusal_that_stripe_has_saved_does_not_stop_a_later_run(
    operator: Operator, sandbox: Sandbox
) -> None:
    sandbox.api.refuse(400, path_prefix="/v1/products", saved=True)
    results = await operator.set_up()
    assert results[0].problem
    assert {one.problem for one in await operator.set_up()} == {""}


@pytest.mark.gen_test
async def test_objects_are_found_again_without_the_file(operator: Operator) -> None:
    await operator.set_up()
    before = dict(operator.variables)
    operator.variables.clear()
    steps = await operator.plan()
    assert changed(steps) == []
    await operator.set_up()
    # Stripe shows the signing secret only once.
    assert operator.variables == {name: before[name] for name in before if name != SECRET}
    [last] = [step for step in steps if step.action is Action.BY_HAND]
    assert last.subject == "signing secret"
    assert "webhook rotate" in last.by_hand

    # Without the endpoint, there is a new one with a new secret.
    [endpoint] = objects(operator.sandbox, "/v1/webhook_endpoints")
    operator.sandbox.call("DELETE", f"/v1/webhook_endpoints/{endpoint['id']}")
    assert [one.problem for one in await operator.set_up()] == [""]
    assert operator.variables[SECRET] not in ("", before[SECRET])


@pytest.mark.gen_test
async def test_new_amount_is_a_new_price_and_the_old_one_is_retired(
    operator: Operator, sandbox: Sandbox
) -> None:
    await operator.set_up()
    dearer = Offers([Offer.package("usd", 600, 50), MANY], Offer.plan("usd", 3900))
    steps = await operator.plan(dearer)
    assert [(action, subject) for action, subject, _ in changed(steps)] == [
        ("create", "package"),
        ("change", "package"),
        ("create", "plan"),
        ("change", "plan"),
    ]
    details = [detail for _, _, detail in changed(steps)]
    assert details[0] == "50 credits for 6.00 USD, instead of 50 credits for 5.00 USD"
    assert details[1].endswith("no longer for sale")
    await operator.set_up(dearer)
    assert operator.active_prices() == [(600, 50), (2000, 220), (3900, None)]
    [keyed] = objects(sandbox, "/v1/prices", lookup_keys=[FIFTY.lookup_key])
    assert keyed["unit_amount"] == 600
    assert changed(await operator.plan(dearer)) == []

    # The old amount again: the retired price has lost its key, so that there is a third one.
    await operator.set_up()
    assert operator.active_prices() == [(500, 50), (2000, 220), (2900, None)]


@pytest.mark.gen_test
async def test_default_price_moves_to_the_new_price(operator: Operator, sandbox: Sandbox) -> None:
    await operator.set_up()
    product = operator.variables[PRODUCT]
    [old] = objects(sandbox, "/v1/prices", lookup_keys=[MANY.lookup_key])
    sandbox.call("POST", f"/v1/products/{product}", default_price=old["id"])
    results = await operator.set_up(Offers([FIFTY, Offer.package("usd", 1900, 220)], MONTHLY))
    assert [one.problem for one in results] == ["", ""]
    [new] = objects(sandbox, "/v1/prices", lookup_keys=[MANY.lookup_key])
    assert sandbox.get(product)["default_price"] == new["id"]
    assert not sandbox.get(old["id"])["active"]


@pytest.mark.gen_test
async def test_package_that_is_not_named_is_retired_and_comes_back(operator: Operator) -> None:
    await operator.set_up()
    await operator.set_up(Offers([FIFTY], None))
    assert operator.active_prices() == [(500, 50), (2900, None)]
    await operator.set_up()
    assert operator.active_prices() == [(500, 50), (2000, 220), (2900, None)]


@pytest.mark.gen_test
async def test_objects_that_people_have_created_are_used(
    operator: Operator, sandbox: Sandbox
) -> None:
    product = sandbox.create_product(name="Our credits")["id"]
    price = sandbox.create_price(product=product, unit_amount=500, credits=50)["id"]
    other = sandbox.create_price(product=product, unit_amount=9900, credits=1500)["id"]
    plan = sandbox.create_product(name="Our plan")["id"]
    sandbox.create_price(product=plan, unit_amount=2900, recurring={"interval": "month"})
    portal = sandbox.call(
        "POST",
        "/v1/billing_portal/configurations",
        features={
            "invoice_history": {"enabled": True},
            "subscription_cancel": {"enabled": True, "mode": "immediately"},
        },
    )
    operator.variables |= {
        PRODUCT: product,
        PLAN_PRODUCT: f"prod_gone,{plan}",
        PORTAL: portal["id"],
    }
    await operator.set_up()
    assert operator.variables[PRODUCT] == product
    assert operator.variables[PLAN_PRODUCT] == f"prod_gone,{plan}"
    assert operator.variables[PORTAL] == portal["id"]
    assert operator.variables[PORTAL_URL].startswith(sandbox.url)
    assert sandbox.get(price)["lookup_key"] == FIFTY.lookup_key
    assert sandbox.get(other)["active"]
    features = sandbox.get(portal["id"])["features"]
    assert features["subscription_cancel"]["mode"] == "immediately"
    assert features["payment_method_update"]["enabled"]
    assert len(objects(sandbox, "/v1/products")) == 2
    assert changed(await operator.plan()) == []


@pytest.mark.gen_test
async def test_price_that_people_have_created_keeps_its_key_and_stays_for_sale(
    operator: Operator, sandbox: Sandbox
) -> None:
    await operator.set_up()
    plan = {"currency": "usd", "recurring": {"interval": "month"}, "lookup_key": "pro-plan"}
    product = operator.variables[PLAN_PRODUCT]
    keyed = sandbox.call("POST", "/v1/prices", product=product, unit_amount=4900, **plan)
    product = operator.variables[PRODUCT]
    keyless = sandbox.create_price(product=product, unit_amount=700, credits=70)
    named = Offers([FIFTY, MANY, Offer.package("usd", 700, 70)], Offer.plan("usd", 4900))
    await operator.set_up(named)
    assert sandbox.get(keyed["id"]) == keyed
    stored = sandbox.get(keyless["id"])
    assert stored == {**keyless, "lookup_key": "datalayer-stripe-credits-70"}
    assert changed(await operator.plan(named)) == []
    assert operator.active_prices() == [(500, 50), (700, 70), (2000, 220), (4900, None)]

    # What is not named any more is retired only if the set-up has created it.
    await operator.set_up()
    assert operator.active_prices() == [
        (500, 50),
        (700, 70),
        (2000, 220),
        (2900, None),
        (4900, None),
    ]


@pytest.mark.gen_test
async def test_archived_objects_are_activated_again(operator: Operator, sandbox: Sandbox) -> None:
    await operator.set_up()
    [price] = objects(sandbox, "/v1/prices", lookup_keys=[FIFTY.lookup_key])
    [endpoint] = objects(sandbox, "/v1/webhook_endpoints")
    sandbox.call("POST", f"/v1/prices/{price['id']}", active=False)
    sandbox.call("POST", f"/v1/products/{operator.variables[PRODUCT]}", active=False)
    sandbox.call(
        "POST",
        f"/v1/billing_portal/configurations/{operator.variables[PORTAL]}",
        active=False,
        login_page={"enabled": False},
    )
    sandbox.call("POST", f"/v1/webhook_endpoints/{endpoint['id']}", disabled=True)
    assert [(action, subject) for action, subject, _ in changed(await operator.plan())] == [
        ("change", "product of the packages"),
        ("change", "package"),
        ("change", "customer portal"),
        ("change", "webhook endpoint"),
    ]
    await operator.set_up()
    portal = sandbox.get(operator.variables[PORTAL])
    assert (portal["active"], portal["login_page"]["enabled"]) == (True, True)
    assert changed(await operator.plan()) == []
    assert len(objects(sandbox, "/v1/prices")) == 3


@pytest.mark.gen_test
async def test_login_page_without_a_url_leaves_the_variable_unset(
    operator: Operator, sandbox: Sandbox
) -> None:
    await operator.set_up()
    portal = sandbox.get(operator.variables[PORTAL])
    sandbox.put({**portal, "login_page": {"enabled": True, "url": None}})
    del operator.variables[PORTAL_URL]
    await operator.set_up()
    assert PORTAL_URL not in operator.variables


@pytest.mark.gen_test
async def test_id_that_stripe_does_not_have_is_replaced(operator: Operator) -> None:
    operator.variables |= {PRODUCT: "prod_gone", PORTAL: "bpc_gone"}
    steps = await operator.plan()
    assert steps[0].detail == "Credits, because Stripe does not have prod_gone"
    await operator.set_up()
    assert "gone" not in "".join(operator.variables.values())


@pytest.mark.parametrize("offers", [Offers([], MONTHLY), Offers([FIFTY], None)])
@pytest.mark.gen_test
async def test_account_with_nothing_for_sale_needs_offers(
    operator: Operator, offers: Offers
) -> None:
    with pytest.raises(SetupError, match=r"exists yet\. Add --p"):
        await operator.plan(offers)
    assert operator.writes() == 0


@pytest.mark.parametrize("steps_done", range(7))
@pytest.mark.gen_test
async def test_interrupted_set_up_can_be_repeated(
    operator: Operator, sandbox: Sandbox, steps_done: int
) -> None:
    """After so many steps, Stripe creates the next object, but its answer is lost."""

    def lose_answers(results: Sequence[Result]) -> None:
        if len(results) == steps_done:
            sandbox.api.cut(1000, cut_after=True)

    results: list[Result] = []
    steps = await operator.plan()
    lose_answers(results)
    with pytest.raises(StripeUnavailable):
        await apply_steps(
            steps,
            save=operator.variables.update,
            on_result=lambda result: (results.append(result), lose_answers(results)),
        )
    sandbox.api.normal()
    await operator.set_up()
    assert operator.active_prices() == [(500, 50), (2000, 220), (2900, None)]
    assert len(objects(sandbox, "/v1/products")) == 2
    assert len(objects(sandbox, "/v1/billing_portal/configurations")) == 1
    assert len(objects(sandbox, "/v1/webhook_endpoints")) == 1
    assert changed(await operator.plan()) == []


@pytest.mark.gen_test
async def test_refused_step_does_not_stop_the_others(operator: Operator) -> None:
    # The local Stripe sends events to this machine only.
    url = "https://shop.example.com/api/iam/stripe/v1/webhook"
    results = await operator.set_up(url=url)
    [refused] = [one for one in results if one.problem]
    assert refused.problem.startswith("Stripe refuses it: The sandbox sends webhooks only to")
    assert refused.by_hand.startswith(f"Add an endpoint for {url} at")
    assert operator.active_prices() == [(500, 50), (2000, 220), (2900, None)]


@pytest.mark.gen_test
async def test_set_up_without_an_address_says_how_events_arrive(operator: Operator) -> None:
    results = await operator.set_up(url=None)
    assert (results[-1].step.subject, results[-1].problem) == (
        "webhook endpoint",
        "the address of the service is needed",
    )
    assert "--url" in results[-1].by_hand
    operator.variables[SECRET] = "whsec_ofTheCommandLineOfStripe"
    assert changed(await operator.plan(url=None)) == []
    assert await operator.set_up(url=None) == []


@pytest.mark.gen_test
async def test_new_endpoint_keeps_the_other_signing_secrets(operator: Operator) -> None:
    operator.variables[SECRET] = "whsec_ofTheCommandLineOfStripe"
    await operator.set_up()
    first, second = operator.variables[SECRET].split(",")
    assert first.startswith("whsec_")
    assert second == "whsec_ofTheCommandLineOfStripe"


@pytest.mark.parametrize(
    ("lacking", "subjects", "permission"),
    [
        ("product_write", ["product of the packages", "product of the plan"], "Products: Write"),
        ("product_read", ["product of the packages", "product of the plan"], "Products: Read"),
        ("plan_write", ["package", "package", "plan"], "Prices: Write"),
        ("plan_read", ["product of the packages", "product of the plan"], "Prices: Read"),
        ("customer_portal_write", ["customer portal"], "Customer portal: Write"),
        ("customer_portal_read", ["customer portal"], "Customer portal: Read"),
        ("webhook_write", ["webhook endpoint"], "Webhook Endpoints: Write"),
        ("webhook_read", ["webhook endpoint"], "Webhook Endpoints: Read"),
    ],
)
@pytest.mark.gen_test
async def test_restricted_key_gets_the_permission_that_it_lacks_and_what_to_do_by_hand(
    new_operator: Callable[[str], Operator],
    sandbox: Sandbox,
    lacking: str,
    subjects: list[str],
    permission: str,
) -> None:
    resources = ("product", "plan", "customer_portal", "webhook")
    granted = {f"{name}_write" for name in resources}
    if lacking not in granted:
        granted.remove(lacking.replace("_read", "_write"))
    else:
        granted = {*granted - {lacking}, lacking.replace("_write", "_read")}
    operator = new_operator(sandbox.create_restricted_key(granted))
    results = await operator.set_up()
    failed = [one for one in results if one.problem]
    lacks = f"the key lacks the permission {permission} ({lacking})"
    blamed = [one for one in failed if one.problem == lacks]
    assert [one.step.subject for one in blamed] == subjects
    assert all("https://dashboard.stripe.com/" in one.by_hand for one in blamed)
    # What depends on it is not tried, and what does not is done.
    assert {one.problem.split(" the ")[0] for one in failed if one not in blamed} <= {"needs"}
    done = [one for one in results if not one.problem]
    assert len(done) + len(failed) == len(results)
    assert done

    full = new_operator(sandbox.secret_key)
    full.variables |= operator.variables
    await full.set_up()
    assert changed(await full.plan()) == []
    assert len(objects(sandbox, "/v1/products")) == 2
