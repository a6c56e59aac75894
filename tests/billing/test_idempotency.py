"""An error that Stripe saved for an idempotency key does not block later requests.

Stripe repeats the first answer to a key for a day, including errors:
https://docs.stripe.com/api/idempotent_requests.
"""

import asyncio
from datetime import timedelta

import pytest

from datalayer_stripe.composition import open_service
from datalayer_stripe.errors import StripeNoResponse, StripeUnavailable
from datalayer_stripe.models import Identity
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
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
    assert len(set(keys_of(sandbox, path))) == 4, "a new key after each refusal"


@pytest.mark.mongod
@pytest.mark.parametrize("path", [CUSTOMERS, SUBSCRIPTIONS])
@pytest.mark.gen_test
async def test_concurrent_requests_after_a_saved_500_create_one_object(
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
async def test_lost_answer_after_a_saved_500_creates_no_second_object(
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
async def test_plan_archived_after_it_was_listed_does_not_block_another_plan(
    buyer: Buyer, sandbox: Sandbox, shop: Shop
) -> None:
    other = sandbox.create_price(
        product=shop.plan_product, unit_amount=9900, recurring={"interval": "month"}
    )["id"]
    await sandbox.webhooks.settle()
    await buyer.api.service.catalog.plans()
    sandbox.webhooks.hold()  # the plan is still in the cache
    sandbox.call("POST", f"/v1/prices/{shop.plan}", active=False)
    assert (await buyer.ask_to_subscribe()).code == 400
    assert (await buyer.ask_to_subscribe(other)).code == 201


@pytest.mark.gen_test
async def test_error_with_a_lost_answer_blocks_another_plan_for_at_most_a_minute(
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
    assert (await buyer.ask_to_subscribe(other)).code == 409, (
        "the first request may still be running"
    )
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
async def test_clients_own_key_stays_with_its_package_after_other_uses(
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
async def test_refused_address_and_saved_500_do_not_block_creating_a_customer(
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
async def test_saved_500_on_setting_a_card_does_not_block_setting_it(
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
async def test_unsaved_error_keeps_a_clients_own_key(buyer: Buyer, sandbox: Sandbox) -> None:
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
async def test_unsaved_error_keeps_the_key(
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
async def test_concurrent_replacements_replace_a_key_once(service: Service) -> None:
    keys = service.store.idempotency_keys
    now = service.clock()
    assert await keys.current("subscribe") == "subscribe"
    await asyncio.gather(*(keys.replace("subscribe", "subscribe", now) for _ in range(8)))
    second = await keys.current("subscribe")
    assert second not in ("subscribe", "subscribe-")
    await keys.replace("subscribe", "subscribe", now)
    assert await keys.current("subscribe") == second, "the key was replaced before"
    await keys.replace("subscribe", second, now)
    assert await keys.current("subscribe") not in ("subscribe", second)
    assert len(await rows(service, "idempotency_keys")) == 1


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_stuck_key_is_replaced_after_its_timeout(service: Service, clock: Clock) -> None:
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
