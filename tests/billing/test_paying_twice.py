"""Of one account and package, one PaymentIntent at a time can be paid: whoever crashes or races."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port

from datalayer_stripe.app import make_app
from datalayer_stripe.billing.open_payment_intents import REUSE_PERIOD
from datalayer_stripe.errors import StoreUnavailable, StripeNoResponse
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service, open_service
from datalayer_stripe.settings import Settings
from datalayer_stripe.stripe_api import transport
from tests.support.app import Api, Clock, json_of
from tests.support.shop import Buyer, Shop, objects

pytestmark = pytest.mark.usefixtures("webhooks", "unlimited")

INTENTS = "/v1/payment_intents"
PAYABLE = {"requires_payment_method", "requires_confirmation", "requires_action"}
Work = Callable[..., Awaitable[Any]]


def intents(sandbox: Sandbox) -> list[dict[str, Any]]:
    """The PaymentIntents of packages, newest first; a plan's have no credits."""
    return [one for one in objects(sandbox, INTENTS) if "credits" in one["metadata"]]


def payable(sandbox: Sandbox) -> list[str]:
    return [one["id"] for one in intents(sandbox) if one["status"] in PAYABLE]


async def asked(buyer: Buyer) -> str:
    """Ask for the package's PaymentIntent, and return its id."""
    answer = await buyer.ask_to_buy()
    assert answer.code == 201, answer.body
    return str(json_of(answer)["payment_intent_id"])


def stripe_calls(sandbox: Sandbox, since: int) -> list[str]:
    """What Stripe was asked since then: the method, and the last word of the path."""
    return [
        f"{call.method} {call.path.rpartition('/')[2]}"
        for call in sandbox.api.calls[since:]
        if call.path.startswith(INTENTS)
    ]


def a_while(clock: Clock, longer: timedelta = REUSE_PERIOD) -> None:
    clock.advance(seconds=longer.total_seconds() + 1)


@pytest.mark.parametrize("longer", [REUSE_PERIOD, timedelta(days=2)], ids=["minutes", "days"])
@pytest.mark.gen_test
async def test_an_old_one_is_cancelled_before_another_is_made(
    buyer: Buyer, sandbox: Sandbox, clock: Clock, longer: timedelta
) -> None:
    await buyer.subscribe()
    first = await asked(buyer)
    a_while(clock, longer)
    before = len(sandbox.api.calls)
    second = await asked(buyer)
    assert payable(sandbox) == [second]
    assert sandbox.get(first)["status"] == "canceled"
    assert stripe_calls(sandbox, before) == [f"GET {first}", "POST cancel", "POST payment_intents"]
    with pytest.raises(Exception, match="canceled"):
        sandbox.confirm_payment(first)


@pytest.mark.gen_test
async def test_the_usual_cases_cost_one_call_each(
    buyer: Buyer, sandbox: Sandbox, clock: Clock
) -> None:
    await buyer.subscribe()
    before = len(sandbox.api.calls)
    first = await asked(buyer)
    assert await asked(buyer) == first
    assert stripe_calls(sandbox, before) == ["POST payment_intents", f"GET {first}"]
    await buyer.buy()
    a_while(clock)
    before = len(sandbox.api.calls)
    assert await asked(buyer) != first
    assert stripe_calls(sandbox, before) == ["POST payment_intents"], "our books know the first"


@pytest.mark.parametrize("change", ["amount", "customer", "credits"])
@pytest.mark.gen_test
async def test_one_of_other_terms_is_cancelled_too(
    buyer: Buyer, sandbox: Sandbox, change: str
) -> None:
    await buyer.subscribe()
    first = sandbox.get(await asked(buyer))
    changes: dict[str, dict[str, Any]] = {
        "amount": {"amount": 400},
        "customer": {"customer": "cus_before"},
        "credits": {"metadata": {**first["metadata"], "credits": "49"}},
    }
    sandbox.put({**first, **changes[change]})
    second = await asked(buyer)
    assert payable(sandbox) == [second] != [first["id"]]


@pytest.mark.parametrize("is_old", [False, True], ids=["young", "old"])
@pytest.mark.gen_test
async def test_one_that_is_paid_is_told_until_its_credits_are_there(
    buyer: Buyer, sandbox: Sandbox, clock: Clock, webhooks: Webhooks, is_old: bool
) -> None:
    await buyer.subscribe()
    first = await asked(buyer)
    webhooks.hold()
    sandbox.confirm_payment(first)
    if is_old:
        a_while(clock)
    assert await asked(buyer) == first
    assert len(intents(sandbox)) == 1
    webhooks.release()
    await webhooks.settle()
    assert await buyer.credits() == 50
    assert await asked(buyer) != first


@pytest.mark.gen_test
async def test_one_that_is_processed_is_told_however_old(
    buyer: Buyer, sandbox: Sandbox, clock: Clock
) -> None:
    await buyer.subscribe()
    first = await asked(buyer)
    sandbox.put({**sandbox.get(first), "status": "processing"})
    a_while(clock, timedelta(days=3))
    before = len(sandbox.api.calls)
    assert await asked(buyer) == first
    assert stripe_calls(sandbox, before) == [f"GET {first}"]


@pytest.mark.gen_test
async def test_one_that_is_paid_while_it_is_being_cancelled_is_told(
    buyer: Buyer,
    sandbox: Sandbox,
    clock: Clock,
    webhooks: Webhooks,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await buyer.subscribe()
    first = await asked(buyer)
    a_while(clock)
    webhooks.hold()
    cancel = service.stripe.cancel_payment_intent

    async def too_late(intent_id: str, **options: Any) -> Any:
        sandbox.confirm_payment(intent_id)
        return await cancel(intent_id, **options)

    monkeypatch.setattr(service.stripe, "cancel_payment_intent", too_late)
    assert await asked(buyer) == first
    assert [one["status"] for one in intents(sandbox)] == ["succeeded"]


@pytest.mark.gen_test
async def test_one_whose_payment_fails_while_it_is_being_cancelled_is_asked_for_again(
    buyer: Buyer,
    sandbox: Sandbox,
    clock: Clock,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await buyer.subscribe()
    first = sandbox.get(await asked(buyer))
    a_while(clock)
    cancel = service.stripe.cancel_payment_intent

    async def at_a_bad_moment(intent_id: str, **options: Any) -> Any:
        sandbox.put({**first, "status": "processing"})
        try:
            return await cancel(intent_id, **options)
        finally:
            sandbox.put(first)

    with monkeypatch.context() as broken:
        broken.setattr(service.stripe, "cancel_payment_intent", at_a_bad_moment)
        answer = await buyer.ask_to_buy()
    assert (answer.code, json_of(answer)["code"]) == (409, "conflict")
    assert payable(sandbox) == [first["id"]]
    second = await asked(buyer)
    assert payable(sandbox) == [second] != [first["id"]]


@pytest.mark.gen_test
async def test_one_whose_event_was_rejected_keeps_nobody_from_buying(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service
) -> None:
    await buyer.subscribe()
    first = await asked(buyer)
    intent = sandbox.get(first)
    sandbox.put({**intent, "metadata": {**intent["metadata"], "credits": "many"}})
    sandbox.confirm_payment(first)
    await webhooks.settle()
    assert await buyer.credits() == 0
    assert await asked(buyer) != first


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.gen_test
async def test_a_crash_at_any_step_leaves_one(
    buyer: Buyer,
    sandbox: Sandbox,
    clock: Clock,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
) -> None:
    """Each call of a renewal is cut in turn, before it is made or before its answer is here."""
    await buyer.subscribe()
    steps, reached = 0, True
    while reached:
        old = await asked(buyer)
        a_while(clock)
        with monkeypatch.context() as broken:
            calls = cut_at(steps, when, service, broken)
            crashed = await buyer.ask_to_buy()
        reached = len(calls) > steps
        assert crashed.code == (503 if reached else 201), (calls, crashed.body)
        again = await asked(buyer)
        assert payable(sandbox) == [again] != [old], calls
        steps += 1
    assert steps > 7, "the look, the cancelling, and what makes the next"


def cut_at(step: int, when: str, service: Service, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Cut the call of that number; the calls that are made, as they are made."""
    calls: list[str] = []

    def cut(name: str, work: Work, error: Exception) -> Work:
        async def cut_or_not(*args: Any, **options: Any) -> Any:
            calls.append(name)
            is_cut = len(calls) == step + 1
            if is_cut and when == "before":
                raise error
            answer = await work(*args, **options)
            if is_cut:
                raise error
            return answer

        return cut_or_not

    store, stripe = service.store, service.stripe
    for name in ("claim", "assign", "forget"):
        work = cut(name, getattr(store.open_payment_intents, name), StoreUnavailable())
        monkeypatch.setattr(store.open_payment_intents, name, work)
    monkeypatch.setattr(
        store.ledger, "existing", cut("existing", store.ledger.existing, StoreUnavailable())
    )
    for name in ("retrieve_payment_intent", "cancel_payment_intent", "create_payment_intent"):
        monkeypatch.setattr(stripe, name, cut(name, getattr(stripe, name), StripeNoResponse()))
    return calls


@pytest.mark.parametrize("trouble", ["refuse", "cut"])
@pytest.mark.gen_test
async def test_while_stripe_cannot_cancel_no_other_is_made(
    buyer: Buyer, sandbox: Sandbox, clock: Clock, quick_retries: None, trouble: str
) -> None:
    await buyer.subscribe()
    first = await asked(buyer)
    a_while(clock)
    {"refuse": sandbox.api.refuse, "cut": sandbox.api.cut}[trouble](
        times=100, path_prefix=f"{INTENTS}/{first}/cancel"
    )
    answer = await buyer.ask_to_buy()
    assert (answer.code, json_of(answer)["code"]) == (503, "stripe_unavailable")
    assert payable(sandbox) == [first]
    sandbox.api.normal()
    second = await asked(buyer)
    assert payable(sandbox) == [second] != [first]


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_two_processes_that_renew_at_once_make_one(
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
            old = await asked(buyer)
            a_while(clock)
            wanted = [asked(one) for _ in range(4) for one in (buyer, there)]
            [new] = set(await asyncio.gather(*wanted))
            assert payable(sandbox) == [new] != [old]
    finally:
        there.api.http.close()
        server.stop()
        await server.close_all_connections()
        await other.close()


@pytest.mark.parametrize("database", ["memory", pytest.param("mongod", marks=pytest.mark.mongod)])
@pytest.mark.gen_test
async def test_who_comes_too_late_with_a_new_one_gives_the_other_s(
    buyer: Buyer,
    sandbox: Sandbox,
    clock: Clock,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    database: str,
) -> None:
    """Stripe takes its time, and meanwhile somebody else has made and been given the next one."""
    await buyer.subscribe()
    create = service.stripe.create_payment_intent
    others: list[str] = []

    async def slow(**wanted: Any) -> Any:
        made = await create(**wanted)
        monkeypatch.setattr(service.stripe, "create_payment_intent", create)
        a_while(clock)
        others.append(await asked(buyer))
        return made

    monkeypatch.setattr(service.stripe, "create_payment_intent", slow)
    assert [await asked(buyer)] == others
    # The one that came too late can be paid by nobody: its secret is nobody's.
    assert len(payable(sandbox)) == 2


# An answer that is lost


@pytest.mark.parametrize("cut_after", [False, True], ids=["before it was made", "after"])
@pytest.mark.gen_test
async def test_who_tries_again_after_a_lost_answer_gets_the_very_same(
    buyer: Buyer, sandbox: Sandbox, quick_retries: None, cut_after: bool
) -> None:
    await buyer.subscribe()
    sandbox.api.cut(times=3, cut_after=cut_after, path_prefix=INTENTS)
    answer = await buyer.ask_to_buy()
    assert (answer.code, json_of(answer)["code"]) == (503, "stripe_unavailable")
    made = [one["id"] for one in intents(sandbox)]
    assert len(made) == (1 if cut_after else 0)
    again = await asked(buyer)
    assert [one["id"] for one in intents(sandbox)] == [again]
    assert made in ([], [again])


@pytest.mark.gen_test
async def test_who_tries_again_after_a_time_out_gets_the_very_same(
    buyer: Buyer, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    await buyer.subscribe()
    with monkeypatch.context() as hasty:
        hasty.setattr(transport, "CALL_TIMEOUT_SECONDS", 0.2)
        sandbox.api.delay(0.4, times=1, path_prefix=INTENTS)
        assert (await buyer.ask_to_buy()).code == 503
    async with asyncio.timeout(10):
        while not intents(sandbox):  # noqa: ASYNC110 (nothing tells of it)
            await asyncio.sleep(0.02)
    again = await asked(buyer)
    assert [one["id"] for one in intents(sandbox)] == [again]


@pytest.mark.gen_test
async def test_long_after_a_lost_answer_another_key_is_used(
    buyer: Buyer, sandbox: Sandbox, clock: Clock, quick_retries: None
) -> None:
    """Stripe forgets keys after a day, and what it made under this one was given to nobody."""
    await buyer.subscribe()
    sandbox.api.cut(times=3, cut_after=True, path_prefix=INTENTS)
    assert (await buyer.ask_to_buy()).code == 503
    [lost] = intents(sandbox)
    a_while(clock)
    again = await asked(buyer)
    assert again != lost["id"]
    assert await asked(buyer) == again
