"""At most one PaymentIntent of an account and package can be paid, despite crashes and races."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from datalayer_stripe.app import make_app
from datalayer_stripe.billing.open_payment_intents import REUSE_PERIOD
from datalayer_stripe.composition import open_service
from datalayer_stripe.errors import StoreUnavailable, StripeNoResponse
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from datalayer_stripe.settings import Settings
from datalayer_stripe.stripe_api import transport
from tests.support.app import Api, Clock, json_of
from tests.support.shop import Buyer, Shop, objects

pytestmark = pytest.mark.usefixtures("webhooks", "unlimited")

INTENTS = "/v1/payment_intents"
PAYABLE = {"requires_payment_method", "requires_confirmation", "requires_action"}
Call = Callable[..., Awaitable[Any]]


def intents(sandbox: Sandbox) -> list[dict[str, Any]]:
    """Return the PaymentIntents of packages, newest first. Those of plans have no credits."""
    return [one for one in objects(sandbox, INTENTS) if "credits" in one["metadata"]]


def payable(sandbox: Sandbox) -> list[str]:
    return [one["id"] for one in intents(sandbox) if one["status"] in PAYABLE]


async def request_intent(buyer: Buyer) -> str:
    """Request the package's PaymentIntent, and return its id."""
    answer = await buyer.ask_to_buy()
    assert answer.code == 201, answer.body
    return str(json_of(answer)["payment_intent_id"])


def stripe_calls(sandbox: Sandbox, since: int) -> list[str]:
    """Return the method and the last part of the path of each later call to Stripe."""
    return [
        f"{call.method} {call.path.rpartition('/')[2]}"
        for call in sandbox.api.calls[since:]
        if call.path.startswith(INTENTS)
    ]


def pass_time(clock: Clock, period: timedelta = REUSE_PERIOD) -> None:
    clock.advance(seconds=period.total_seconds() + 1)


@pytest.mark.parametrize("age", [REUSE_PERIOD, timedelta(days=2)], ids=["minutes", "days"])
@pytest.mark.gen_test
async def test_old_payment_intent_is_cancelled_before_another_is_created(
    buyer: Buyer, sandbox: Sandbox, clock: Clock, age: timedelta
) -> None:
    await buyer.subscribe()
    first = await request_intent(buyer)
    pass_time(clock, age)
    before = len(sandbox.api.calls)
    second = await request_intent(buyer)
    assert payable(sandbox) == [second]
    assert sandbox.get(first)["status"] == "canceled"
    assert stripe_calls(sandbox, before) == [f"GET {first}", "POST cancel", "POST payment_intents"]
    with pytest.raises(Exception, match="canceled"):
        sandbox.confirm_payment(first)


@pytest.mark.gen_test
async def test_usual_requests_need_one_call_to_stripe(
    buyer: Buyer, sandbox: Sandbox, clock: Clock
) -> None:
    await buyer.subscribe()
    before = len(sandbox.api.calls)
    first = await request_intent(buyer)
    assert await request_intent(buyer) == first
    assert stripe_calls(sandbox, before) == ["POST payment_intents", f"GET {first}"]
    await buyer.buy()
    pass_time(clock)
    before = len(sandbox.api.calls)
    assert await request_intent(buyer) != first
    assert stripe_calls(sandbox, before) == ["POST payment_intents"], (
        "the ledger has the first payment"
    )


@pytest.mark.parametrize("change", ["amount", "customer", "credits"])
@pytest.mark.gen_test
async def test_payment_intent_with_other_parameters_is_cancelled(
    buyer: Buyer, sandbox: Sandbox, change: str
) -> None:
    await buyer.subscribe()
    first = sandbox.get(await request_intent(buyer))
    changes: dict[str, dict[str, Any]] = {
        "amount": {"amount": 400},
        "customer": {"customer": "cus_former"},
        "credits": {"metadata": {**first["metadata"], "credits": "49"}},
    }
    sandbox.put({**first, **changes[change]})
    second = await request_intent(buyer)
    assert payable(sandbox) == [second] != [first["id"]]


@pytest.mark.parametrize("is_old", [False, True], ids=["young", "old"])
@pytest.mark.gen_test
async def test_paid_payment_intent_is_returned_until_it_is_credited(
    buyer: Buyer, sandbox: Sandbox, clock: Clock, webhooks: Webhooks, is_old: bool
) -> None:
    await buyer.subscribe()
    first = await request_intent(buyer)
    webhooks.hold()
    sandbox.confirm_payment(first)
    if is_old:
        pass_time(clock)
    assert await request_intent(buyer) == first
    assert len(intents(sandbox)) == 1
    webhooks.release()
    await webhooks.settle()
    assert await buyer.credits() == 50
    assert await request_intent(buyer) != first


@pytest.mark.gen_test
async def test_processing_payment_intent_is_returned_at_any_age(
    buyer: Buyer, sandbox: Sandbox, clock: Clock
) -> None:
    await buyer.subscribe()
    first = await request_intent(buyer)
    sandbox.put({**sandbox.get(first), "status": "processing"})
    pass_time(clock, timedelta(days=3))
    before = len(sandbox.api.calls)
    assert await request_intent(buyer) == first
    assert stripe_calls(sandbox, before) == [f"GET {first}"]


@pytest.mark.gen_test
async def test_payment_intent_that_is_paid_during_its_cancellation_is_returned(
    buyer: Buyer,
    sandbox: Sandbox,
    clock: Clock,
    webhooks: Webhooks,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await buyer.subscribe()
    first = await request_intent(buyer)
    pass_time(clock)
    webhooks.hold()
    cancel = service.stripe.cancel_payment_intent

    async def pay_first(intent_id: str, **options: Any) -> Any:
        sandbox.confirm_payment(intent_id)
        return await cancel(intent_id, **options)

    monkeypatch.setattr(service.stripe, "cancel_payment_intent", pay_first)
    assert await request_intent(buyer) == first
    assert [one["status"] for one in intents(sandbox)] == ["succeeded"]


@pytest.mark.gen_test
async def test_payment_that_fails_during_the_cancellation_is_a_conflict(
    buyer: Buyer,
    sandbox: Sandbox,
    clock: Clock,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await buyer.subscribe()
    first = sandbox.get(await request_intent(buyer))
    pass_time(clock)
    cancel = service.stripe.cancel_payment_intent

    async def fail_during_payment(intent_id: str, **options: Any) -> Any:
        sandbox.put({**first, "status": "processing"})
        try:
            return await cancel(intent_id, **options)
        finally:
            sandbox.put(first)

    with monkeypatch.context() as broken:
        broken.setattr(service.stripe, "cancel_payment_intent", fail_during_payment)
        answer = await buyer.ask_to_buy()
    assert (answer.code, json_of(answer)["code"]) == (409, "conflict")
    assert payable(sandbox) == [first["id"]]
    second = await request_intent(buyer)
    assert payable(sandbox) == [second] != [first["id"]]


@pytest.mark.gen_test
async def test_rejected_payment_does_not_block_the_next_purchase(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service
) -> None:
    await buyer.subscribe()
    first = await request_intent(buyer)
    intent = sandbox.get(first)
    sandbox.put({**intent, "metadata": {**intent["metadata"], "credits": "many"}})
    sandbox.confirm_payment(first)
    await webhooks.settle()
    assert await buyer.credits() == 0
    assert await request_intent(buyer) != first


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.gen_test
async def test_crash_at_any_step_leaves_one_payable_payment_intent(
    buyer: Buyer,
    sandbox: Sandbox,
    clock: Clock,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
) -> None:
    """Each call of a replacement fails in turn, before it is sent or before its answer arrives."""
    await buyer.subscribe()
    steps, reached = 0, True
    while reached:
        old = await request_intent(buyer)
        pass_time(clock)
        with monkeypatch.context() as broken:
            calls = cut_at(steps, when, service, broken)
            crashed = await buyer.ask_to_buy()
        reached = len(calls) > steps
        assert crashed.code == (503 if reached else 201), (calls, crashed.body)
        again = await request_intent(buyer)
        assert payable(sandbox) == [again] != [old], calls
        steps += 1
    assert steps > 7, "retrieve, cancel, delete, claim, create and assign"


def cut_at(step: int, when: str, service: Service, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the call with this number fail; return the list to which calls are added."""
    calls: list[str] = []

    def cut(name: str, call: Call, error: Exception) -> Call:
        async def cut_or_not(*args: Any, **options: Any) -> Any:
            calls.append(name)
            is_cut = len(calls) == step + 1
            if is_cut and when == "before":
                raise error
            answer = await call(*args, **options)
            if is_cut:
                raise error
            return answer

        return cut_or_not

    store, stripe = service.store, service.stripe
    for name in ("claim", "assign", "delete"):
        call = cut(name, getattr(store.open_payment_intents, name), StoreUnavailable())
        monkeypatch.setattr(store.open_payment_intents, name, call)
    monkeypatch.setattr(
        store.ledger,
        "existing_ids",
        cut("existing_ids", store.ledger.existing_ids, StoreUnavailable()),
    )
    for name in ("retrieve_payment_intent", "cancel_payment_intent", "create_payment_intent"):
        monkeypatch.setattr(stripe, name, cut(name, getattr(stripe, name), StripeNoResponse()))
    return calls


@pytest.mark.parametrize("fault", ["refuse", "cut"])
@pytest.mark.gen_test
async def test_no_payment_intent_is_created_while_stripe_cannot_cancel_the_old_one(
    buyer: Buyer, sandbox: Sandbox, clock: Clock, quick_retries: None, fault: str
) -> None:
    await buyer.subscribe()
    first = await request_intent(buyer)
    pass_time(clock)
    {"refuse": sandbox.api.refuse, "cut": sandbox.api.cut}[fault](
        times=100, path_prefix=f"{INTENTS}/{first}/cancel"
    )
    answer = await buyer.ask_to_buy()
    assert (answer.code, json_of(answer)["code"]) == (503, "stripe_unavailable")
    assert payable(sandbox) == [first]
    sandbox.api.normal()
    second = await request_intent(buyer)
    assert payable(sandbox) == [second] != [first]


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_two_processes_that_replace_concurrently_create_one(
    buyer: Buyer,
    sandbox: Sandbox,
    shop: Shop,
    settings: Settings,
    clock: Clock,
    bearer: Callable[..., str],
    quick_retries: None,
) -> None:
    other = await open_service(settings, clock=clock)
    listener, port = bind_unused_port()
    server = HTTPServer(make_app(other))
    server.add_socket(listener)
    there = Buyer(Api(port, other, bearer), sandbox, shop)
    try:
        await buyer.subscribe()
        for _ in range(5):
            old = await request_intent(buyer)
            pass_time(clock)
            wanted = [request_intent(one) for _ in range(4) for one in (buyer, there)]
            [new] = set(await asyncio.gather(*wanted))
            assert payable(sandbox) == [new] != [old]
    finally:
        there.api.http.close()
        server.stop()
        await server.close_all_connections()
        await other.close()


@pytest.mark.parametrize("database", ["memory", pytest.param("mongod", marks=pytest.mark.mongod)])
@pytest.mark.gen_test
async def test_slow_request_returns_the_payment_intent_of_the_faster_one(
    buyer: Buyer,
    sandbox: Sandbox,
    clock: Clock,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    database: str,
) -> None:
    """While Stripe answers slowly, another request creates and returns the next PaymentIntent."""
    await buyer.subscribe()
    create = service.stripe.create_payment_intent
    others: list[str] = []

    async def slow(**wanted: Any) -> Any:
        made = await create(**wanted)
        monkeypatch.setattr(service.stripe, "create_payment_intent", create)
        pass_time(clock)
        others.append(await request_intent(buyer))
        return made

    monkeypatch.setattr(service.stripe, "create_payment_intent", slow)
    assert [await request_intent(buyer)] == others
    # Nobody has the client secret of the slow one, so nobody can pay it.
    assert len(payable(sandbox)) == 2


# Lost answers


@pytest.mark.parametrize("cut_after", [False, True], ids=["before", "after"])
@pytest.mark.gen_test
async def test_retry_after_a_lost_answer_returns_the_same_payment_intent(
    buyer: Buyer, sandbox: Sandbox, quick_retries: None, cut_after: bool
) -> None:
    await buyer.subscribe()
    sandbox.api.cut(times=3, cut_after=cut_after, path_prefix=INTENTS)
    answer = await buyer.ask_to_buy()
    assert (answer.code, json_of(answer)["code"]) == (503, "stripe_unavailable")
    made = [one["id"] for one in intents(sandbox)]
    assert len(made) == (1 if cut_after else 0)
    again = await request_intent(buyer)
    assert [one["id"] for one in intents(sandbox)] == [again]
    assert made in ([], [again])


@pytest.mark.gen_test
async def test_retry_after_a_timeout_returns_the_same_payment_intent(
    buyer: Buyer, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await buyer.subscribe()
    with monkeypatch.context() as patched:
        patched.setattr(transport, "CALL_TIMEOUT_SECONDS", 1.0)
        sandbox.api.delay(1.2, times=1, path_prefix=INTENTS)
        assert (await buyer.ask_to_buy()).code == 503
    async with asyncio.timeout(60):
        while not intents(sandbox):  # noqa: ASYNC110 (no event to wait for)
            await asyncio.sleep(0.02)
    again = await request_intent(buyer)
    assert [one["id"] for one in intents(sandbox)] == [again]


@pytest.mark.gen_test
async def test_retry_long_after_a_lost_answer_uses_another_key(
    buyer: Buyer, sandbox: Sandbox, clock: Clock, quick_retries: None
) -> None:
    """Stripe deletes keys after a day. No client has received the lost PaymentIntent."""
    await buyer.subscribe()
    sandbox.api.cut(times=3, cut_after=True, path_prefix=INTENTS)
    assert (await buyer.ask_to_buy()).code == 503
    [lost] = intents(sandbox)
    pass_time(clock)
    again = await request_intent(buyer)
    assert again != lost["id"]
    assert await request_intent(buyer) == again
