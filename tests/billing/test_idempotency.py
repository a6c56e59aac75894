"""An error that Stripe has saved for an idempotency key blocks nobody.

Stripe repeats the first answer to a key for a day, also an error:
https://docs.stripe.com/api/idempotent_requests.
"""

import asyncio
from datetime import timedelta

import pytest

from datalayer_stripe.errors import StripeNoResponse, StripeUnavailable
from datalayer_stripe.models import Identity
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service, open_service
from datalayer_stripe.settings import Settings
from datalayer_stripe.store.idempotency_keys import STUCK_AFTER
from tests.support.app import ACCOUNT, Clock, json_of
from tests.support.shop import STRIPE_ROUTES, Buyer, Shop, objects, rows

pytestmark = pytest.mark.usefixtures("webhooks", "unlimited", "quick_retries")

CUSTOMERS, SUBSCRIPTIONS = "/v1/customers", "/v1/subscriptions"
INTENTS = "/v1/payment_intents"
SETUP_INTENT = f"{STRIPE_ROUTES}/subscription/resume/setup-intent"


def keys_of(sandbox: Sandbox, path: str) -> list[str | None]:
    """The idempotency keys of the requests to create something at `path`."""
    return [
        call.idempotency_key
        for call in sandbox.api.calls
        if call.method == "POST" and call.path == path
    ]


@pytest.mark.mongod
@pytest.mark.parametrize("path", [CUSTOMERS, SUBSCRIPTIONS])
@pytest.mark.gen_test
async def test_saved_500_on_subscribing_does_not_block_the_next_request(
    buyer: Buyer, sandbox: Sandbox, path: str
) -> None:
    for _ in range(3):
        sandbox.api.refuse(status=500, path_prefix=path, saved=True)
        assert (await buyer.ask_to_subscribe()).code == 503
        sandbox.api.normal()
    assert (await buyer.ask_to_subscribe()).code == 201
    assert len(objects(sandbox, CUSTOMERS)) == 1
    assert len(objects(sandbox, SUBSCRIPTIONS, status="all")) == 1
    assert len(set(keys_of(sandbox, path))) == 4, "another one after each refusal"


@pytest.mark.mongod
@pytest.mark.parametrize("path", [CUSTOMERS, SUBSCRIPTIONS])
@pytest.mark.gen_test
async def test_requests_that_race_after_a_saved_500_create_one(
    buyer: Buyer, sandbox: Sandbox, path: str
) -> None:
    sandbox.api.refuse(status=500, path_prefix=path, saved=True)
    refused = await asyncio.gather(*(buyer.ask_to_subscribe() for _ in range(4)))
    assert 503 in {answer.code for answer in refused}
    answers = await asyncio.gather(*(buyer.ask_to_subscribe() for _ in range(8)))
    assert {answer.code for answer in answers} == {201}
    assert len({json_of(answer)["subscription_id"] for answer in answers}) == 1
    assert len(objects(sandbox, CUSTOMERS)) == 1
    assert len(objects(sandbox, SUBSCRIPTIONS, status="all")) == 1


@pytest.mark.mongod
@pytest.mark.parametrize("path", [CUSTOMERS, SUBSCRIPTIONS])
@pytest.mark.gen_test
async def test_lost_answer_after_a_saved_500_creates_no_second_one(
    buyer: Buyer, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    sandbox.api.refuse(status=500, path_prefix=path, saved=True)
    assert (await buyer.ask_to_subscribe()).code == 503
    stripe = buyer.api.service.stripe
    name = "create_customer" if path == CUSTOMERS else "create_subscription"
    create = getattr(stripe, name)

    async def answer_is_lost(**order: str) -> None:
        await create(**order)
        raise StripeNoResponse

    with monkeypatch.context() as patched:
        patched.setattr(stripe, name, answer_is_lost)
        assert (await buyer.ask_to_subscribe()).code == 503
    assert (await buyer.ask_to_subscribe()).code == 201
    assert len(objects(sandbox, CUSTOMERS)) == 1
    assert len(objects(sandbox, SUBSCRIPTIONS, status="all")) == 1


@pytest.mark.gen_test
async def test_plan_that_was_archived_meanwhile_does_not_block_the_next_plan(
    buyer: Buyer, sandbox: Sandbox, shop: Shop
) -> None:
    other = sandbox.create_price(
        product=shop.plan_product, unit_amount=9900, recurring={"interval": "month"}
    )["id"]
    await sandbox.webhooks.settle()
    await buyer.api.service.catalog.plans()
    sandbox.webhooks.hold()  # the service still has the plan in its list
    sandbox.call("POST", f"/v1/prices/{shop.plan}", active=False)
    assert (await buyer.ask_to_subscribe()).code == 400
    assert (await buyer.ask_to_subscribe(other)).code == 201


@pytest.mark.gen_test
async def test_error_whose_answer_was_lost_blocks_the_next_plan_for_a_minute_at_most(
    buyer: Buyer,
    sandbox: Sandbox,
    shop: Shop,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = sandbox.create_price(
        product=shop.plan_product, unit_amount=9900, recurring={"interval": "month"}
    )["id"]
    sandbox.api.refuse(status=500, path_prefix=SUBSCRIPTIONS, saved=True)
    create = buyer.api.service.stripe.create_subscription

    async def process_ends_before_it_reads_the_answer(**order: str) -> None:
        with pytest.raises(StripeUnavailable):
            await create(**order)
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        stripe = buyer.api.service.stripe
        patched.setattr(stripe, "create_subscription", process_ends_before_it_reads_the_answer)
        with pytest.raises(asyncio.CancelledError):
            await buyer.api.service.plans.subscribe(Identity(account_uid=ACCOUNT), shop.plan)

    assert (await buyer.ask_to_subscribe(other)).code == 409
    assert (await buyer.ask_to_subscribe(other)).code == 409, "it may still be under way"
    clock.advance(seconds=STUCK_AFTER.total_seconds() + 1)
    assert (await buyer.ask_to_subscribe(other)).code == 409
    assert (await buyer.ask_to_subscribe(other)).code == 201


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_clients_own_key_is_not_blocked_by_a_saved_500(
    buyer: Buyer, sandbox: Sandbox
) -> None:
    await buyer.subscribe()
    key = {"Idempotency_Key": "order-1"}
    sandbox.api.refuse(status=500, path_prefix=INTENTS, saved=True)
    assert (await buyer.ask_to_buy(**key)).code == 503
    first = json_of(await buyer.ask_to_buy(**key))
    assert json_of(await buyer.ask_to_buy(**key)) == first
    assert len(set(keys_of(sandbox, INTENTS))) == 2


@pytest.mark.gen_test
async def test_clients_own_key_stays_with_its_package_however_often_it_is_reused(
    buyer: Buyer, shop: Shop, clock: Clock
) -> None:
    await buyer.subscribe()
    key = {"Idempotency_Key": "order-1"}
    first = json_of(await buyer.ask_to_buy(shop.packages[0], **key))
    for _ in range(3):
        assert (await buyer.ask_to_buy(shop.packages[1], **key)).code == 409
        clock.advance(seconds=STUCK_AFTER.total_seconds() + 1)
    assert json_of(await buyer.ask_to_buy(shop.packages[0], **key)) == first


@pytest.mark.gen_test
async def test_package_is_not_blocked_by_a_saved_500(buyer: Buyer, sandbox: Sandbox) -> None:
    await buyer.subscribe()
    sandbox.api.refuse(status=500, path_prefix=INTENTS, saved=True)
    assert (await buyer.ask_to_buy()).code == 503
    assert (await buyer.ask_to_buy()).code == 201


@pytest.mark.gen_test
async def test_address_that_stripe_refuses_and_a_saved_500_block_no_customer(
    buyer: Buyer, sandbox: Sandbox
) -> None:
    address = {"email": "j..doe@example.com"}
    sandbox.api.refuse(status=400, path_prefix=CUSTOMERS, saved=True)
    sandbox.api.refuse(status=500, path_prefix=CUSTOMERS, saved=True)
    assert (await buyer.ask_to_subscribe(user=address)).code == 503
    sandbox.api.refuse(status=400, path_prefix=CUSTOMERS, saved=True)
    assert (await buyer.ask_to_subscribe(user=address)).code == 201


@pytest.mark.gen_test
async def test_saved_500_on_voiding_does_not_block_another_plan(
    buyer: Buyer, sandbox: Sandbox, shop: Shop
) -> None:
    other = sandbox.create_price(
        product=shop.plan_product, unit_amount=9900, recurring={"interval": "month"}
    )["id"]
    await buyer.ask_to_subscribe()
    sandbox.api.refuse(status=500, path_prefix="/v1/invoices", saved=True)
    assert (await buyer.ask_to_subscribe(other)).code == 503
    assert (await buyer.ask_to_subscribe(other)).code == 201


@pytest.mark.gen_test
async def test_saved_500_on_setting_a_card_does_not_block_the_card(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    subscription_id = await buyer.subscribe()
    secret = json_of(await buyer.api.post(SETUP_INTENT))["client_secret"]
    sandbox.api.refuse(status=500, path_prefix=f"{SUBSCRIPTIONS}/", saved=True)
    saved = sandbox.confirm_setup(secret, card="5555555555554444")
    await webhooks.settle()
    kept = sandbox.get(subscription_id)["default_payment_method"]
    assert kept == saved["payment_method"]


@pytest.mark.gen_test
async def test_error_that_was_not_saved_leaves_a_clients_own_key_with_its_payment(
    buyer: Buyer, sandbox: Sandbox
) -> None:
    await buyer.subscribe()
    key = {"Idempotency_Key": "order-1"}
    first = json_of(await buyer.ask_to_buy(**key))
    sandbox.api.refuse(status=503, times=100, path_prefix=INTENTS)
    assert (await buyer.ask_to_buy(**key)).code == 503
    sandbox.api.normal()
    assert json_of(await buyer.ask_to_buy(**key)) == first


@pytest.mark.mongod
@pytest.mark.parametrize("path", [CUSTOMERS, SUBSCRIPTIONS])
@pytest.mark.gen_test
async def test_error_that_was_not_saved_leaves_the_key_as_it_is(
    buyer: Buyer, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    stripe = buyer.api.service.stripe
    name = "create_customer" if path == CUSTOMERS else "create_subscription"
    create = getattr(stripe, name)

    async def another_request_meets_an_outage(**order: str) -> object:
        with monkeypatch.context() as patched:
            patched.setattr(stripe, name, outage)
            assert (await buyer.ask_to_subscribe()).code == 503
            patched.setattr(stripe, name, create)
            assert (await buyer.ask_to_subscribe()).code == 201
        return await create(**order)

    async def outage(**_: str) -> object:
        raise StripeUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(stripe, name, another_request_meets_an_outage)
        assert (await buyer.ask_to_subscribe()).code == 201
    assert len(objects(sandbox, CUSTOMERS)) == 1
    assert len(objects(sandbox, SUBSCRIPTIONS, status="all")) == 1


@pytest.mark.mongod
@pytest.mark.parametrize("path", [CUSTOMERS, SUBSCRIPTIONS])
@pytest.mark.gen_test
async def test_two_processes_create_one_customer_and_one_subscription_after_a_saved_500(
    service: Service,
    sandbox: Sandbox,
    shop: Shop,
    settings: Settings,
    clock: Clock,
    path: str,
) -> None:
    other = await open_service(settings, clock=clock)
    ada = Identity(account_uid=ACCOUNT)
    try:
        sandbox.api.refuse(status=500, path_prefix=path, saved=True)
        with pytest.raises(StripeUnavailable):
            await other.plans.subscribe(ada, shop.plan)
        started = await asyncio.gather(
            *(one.plans.subscribe(ada, shop.plan) for one in (service, other) * 4)
        )
    finally:
        await other.close()
    [subscription] = objects(sandbox, SUBSCRIPTIONS, status="all")
    assert {one.subscription_id for one in started} == {subscription["id"]}
    assert len(objects(sandbox, CUSTOMERS)) == 1


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_key_is_replaced_once_by_all_who_were_refused_under_it(service: Service) -> None:
    keys = service.store.idempotency_keys
    now = service.clock()
    assert await keys.current("subscribe") == "subscribe"
    await asyncio.gather(*(keys.replace("subscribe", "subscribe", now) for _ in range(8)))
    second = await keys.current("subscribe")
    assert second not in ("subscribe", "subscribe-")
    await keys.replace("subscribe", "subscribe", now)
    assert await keys.current("subscribe") == second, "another one is in use already"
    await keys.replace("subscribe", second, now)
    assert await keys.current("subscribe") not in ("subscribe", second)
    assert len(await rows(service, "idempotency_keys")) == 1


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_stuck_key_is_replaced_after_its_time(service: Service, clock: Clock) -> None:
    keys = service.store.idempotency_keys
    for base in ("never replaced", "replaced"):
        if base == "replaced":
            await keys.replace(base, base, clock())
        key = await keys.current(base)
        await keys.replace_if_stuck(base, key, clock())
        await keys.replace_if_stuck(base, key, clock() + STUCK_AFTER - timedelta(seconds=5))
        assert await keys.current(base) == key
        await keys.replace_if_stuck(base, key, clock() + STUCK_AFTER + timedelta(seconds=5))
        assert await keys.current(base) != key
