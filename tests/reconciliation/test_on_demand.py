"""How a top-up stands, and the credits of one whose webhook is late."""

import asyncio

import pytest
from tornado.httpclient import HTTPResponse

from datalayer_stripe.events import Event
from datalayer_stripe.plugin_api.context import Context
from datalayer_stripe.plugin_api.registry import Plugin
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import Api, json_of
from tests.support.shop import STRIPE_ROUTES, Buyer, Shop, calls, rows

STATUS = f"{STRIPE_ROUTES}/topup/payment-intent"
STATUS_FIELDS = [
    "success",
    "payment_intent_id",
    "status",
    "credited",
    "rejected",
    "credits",
    "balance",
]


class Counted:
    """A plugin beside the crediting one, which fails as long as it is told to."""

    def __init__(self) -> None:
        self.plugin = Plugin("counted")
        self.runs: list[str] = []
        self.failing = False
        self.plugin.on("payment_intent.succeeded")(self.count)

    async def count(self, event: Event, ctx: Context) -> None:
        if self.failing:
            raise RuntimeError("not today")
        self.runs.append(event.id)
        ctx.collection.update_one({"_id": "runs"}, {"$inc": {"number": 1}}, upsert=True)


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def extra_plugins(counted: Counted) -> tuple[Plugin, ...]:
    return (counted.plugin,)


async def status(buyer: Buyer, intent_id: str) -> HTTPResponse:
    return await buyer.api.get(f"{STATUS}/{intent_id}", buyer.account)


async def seen(
    buyer: Buyer, intent_id: str, *, is_rejected: bool = False
) -> tuple[str, bool, int, int]:
    answer = await status(buyer, intent_id)
    assert answer.code == 200, answer.body
    fields = json_of(answer)
    assert list(fields) == STATUS_FIELDS
    assert fields["payment_intent_id"] == intent_id
    assert fields["rejected"] is is_rejected
    return fields["status"], fields["credited"], fields["credits"], fields["balance"]


async def paid_unheard_of(buyer: Buyer, sandbox: Sandbox) -> str:
    """A paid top-up, of which no webhook tells."""
    await buyer.subscribe()
    sandbox.webhooks.hold()
    started = json_of(await buyer.ask_to_buy())
    return str(sandbox.confirm_payment(started["client_secret"])["id"])


@pytest.mark.gen_test
async def test_from_asked_for_to_credited(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    started = json_of(await buyer.ask_to_buy())
    intent_id = started["payment_intent_id"]
    assert await seen(buyer, intent_id) == ("requires_payment_method", False, 50, 0)
    sandbox.confirm_payment(started["client_secret"], card="pm_card_authenticationRequired")
    assert await seen(buyer, intent_id) == ("requires_action", False, 50, 0)
    sandbox.authenticate(intent_id)
    await webhooks.settle()
    asked = len(sandbox.api.calls)
    assert await seen(buyer, intent_id) == ("succeeded", True, 50, 50)
    assert len(sandbox.api.calls) == asked, "what our books know is not asked of Stripe"


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_asking_finishes_what_no_webhook_has_said(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service, counted: Counted
) -> None:
    intent_id = await paid_unheard_of(buyer, sandbox)
    assert await buyer.credits() == 0
    assert await seen(buyer, intent_id) == ("succeeded", True, 50, 50)

    # By the code of a delivery: under the event's own id, with every plugin, and once.
    [event] = [one for one in sandbox.events if one["type"] == "payment_intent.succeeded"][-1:]
    assert counted.runs[1:] == [event["id"]], "after the subscription's payment"
    [kept] = [row for row in await rows(service, "events") if row["_id"] == event["id"]]
    assert {run["status"] for run in kept["handlers"].values()} == {"done"}
    webhooks.release()
    await webhooks.settle()
    late = [one for one in webhooks.attempts if one.event_id == event["id"]]
    assert ['"outcome":"duplicate"' in attempt.body.replace(" ", "") for attempt in late] == [True]
    assert await buyer.credits() == 50
    assert len(counted.runs) == 2


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_ten_who_ask_while_the_webhook_comes_add_it_once(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service
) -> None:
    intent_id = await paid_unheard_of(buyer, sandbox)
    webhooks.duplicate(2)
    webhooks.release()
    answers = await asyncio.gather(*(seen(buyer, intent_id) for _ in range(10)))
    await webhooks.settle()
    assert set(answers) == {("succeeded", True, 50, 50)}
    assert await buyer.credits() == 50
    assert len(await rows(service, "ledger")) == 1
    [runs] = await rows(service, "plugin_counted")
    assert runs["number"] == 2, "the subscription's payment, and this one"


@pytest.mark.gen_test
async def test_another_plugin_s_failure_keeps_no_credits_back(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, counted: Counted
) -> None:
    intent_id = await paid_unheard_of(buyer, sandbox)
    counted.failing = True
    assert await seen(buyer, intent_id) == ("succeeded", True, 50, 50)


@pytest.mark.gen_test
async def test_an_event_that_failed_is_tried_from_what_is_kept(
    buyer: Buyer,
    sandbox: Sandbox,
    webhooks: Webhooks,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    intent_id = await paid_unheard_of(buyer, sandbox)
    with monkeypatch.context() as broken:
        broken.setattr("datalayer_stripe.plugin_api.context.Ledger.credit", lambda *_: 1 / 0)
        assert await seen(buyer, intent_id) == ("succeeded", False, 50, 0)
    asked = calls(sandbox, "GET", "/v1/events")
    assert await seen(buyer, intent_id) == ("succeeded", True, 50, 50)
    assert calls(sandbox, "GET", "/v1/events") == asked


@pytest.mark.gen_test
async def test_a_rejected_one_waits_for_the_operator(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service
) -> None:
    intent_id = await paid_unheard_of(buyer, sandbox)
    [customer] = [row["customer_id"] for row in await rows(service, "customers")]
    await service.store._database.customers.update_many({}, {"$set": {"customer_id": "cus_new"}})
    assert await seen(buyer, intent_id, is_rejected=True) == ("succeeded", False, 50, 0)
    [kept] = [row for row in await rows(service, "events") if row.get("rejected")]
    attempts = kept["handlers"]["top-up-credits"]["attempts"]
    assert await seen(buyer, intent_id, is_rejected=True) == ("succeeded", False, 50, 0)
    [kept] = [row for row in await rows(service, "events") if row.get("rejected")]
    assert kept["handlers"]["top-up-credits"]["attempts"] == attempts == 1
    # Mended, it is credited, and told as any other.
    await service.store._database.customers.update_many({}, {"$set": {"customer_id": customer}})
    await service.processor.replay(kept["_id"])
    assert await seen(buyer, intent_id) == ("succeeded", True, 50, 50)


@pytest.mark.gen_test
async def test_one_that_its_webhook_had_rejected_is_told_at_once(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    intent_id = json_of(await buyer.ask_to_buy())["payment_intent_id"]
    intent = sandbox.get(intent_id)
    sandbox.put({**intent, "metadata": {**intent["metadata"], "credits": "many"}})
    sandbox.confirm_payment(intent_id)
    await webhooks.settle()
    answer = json_of(await status(buyer, intent_id))
    assert (answer["status"], answer["credited"], answer["rejected"]) == ("succeeded", False, True)
    assert answer["credits"] is None


@pytest.mark.gen_test
async def test_before_stripe_has_made_the_event_it_is_not_credited(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    intent_id = await paid_unheard_of(buyer, sandbox)
    sandbox.forget_events()
    assert await seen(buyer, intent_id) == ("succeeded", False, 50, 0)


@pytest.mark.gen_test
async def test_that_it_is_paid_is_told_though_its_event_cannot_be_had(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, quick_retries: None
) -> None:
    intent_id = await paid_unheard_of(buyer, sandbox)
    sandbox.api.refuse(status=500, times=100, path_prefix="/v1/events")
    assert await seen(buyer, intent_id) == ("succeeded", False, 50, 0)
    sandbox.api.normal()
    assert await seen(buyer, intent_id) == ("succeeded", True, 50, 50)


@pytest.mark.gen_test
async def test_it_is_only_for_its_owner(
    buyer: Buyer, stranger: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    intent_id = await paid_unheard_of(buyer, sandbox)
    uncredited = await status(stranger, intent_id)
    assert (uncredited.code, json_of(uncredited)["code"]) == (403, "forbidden")
    assert await buyer.credits() == 0, "a stranger's question moves nothing"
    await seen(buyer, intent_id)
    credited = await status(stranger, intent_id)
    assert (credited.code, json_of(credited)["code"]) == (403, "forbidden")
    assert "credits" not in json_of(credited)
    assert (await buyer.api.get(f"{STATUS}/{intent_id}", None)).code == 401


@pytest.mark.gen_test
async def test_what_is_no_top_up_of_ours_is_not_found(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    theirs = sandbox.call("POST", "/v1/payment_intents", amount=500, currency="usd")["id"]
    for intent_id in (theirs, "pi_unknown"):
        answer = await status(buyer, intent_id)
        assert (answer.code, json_of(answer)["code"]) == (404, "not_found")


@pytest.mark.parametrize("intent_id", ["ch_1", "pi_", "pi_1/../x", "pi_1%00", "pi_%22", "pi_1?x"])
@pytest.mark.gen_test
async def test_what_is_no_id_reaches_neither_stripe_nor_the_database(
    buyer: Buyer, sandbox: Sandbox, shop: Shop, intent_id: str
) -> None:
    answer = await status(buyer, intent_id)
    assert answer.code == 404
    if "?" not in intent_id:
        assert not sandbox.api.calls


@pytest.mark.gen_test
async def test_with_stripe_down_what_is_credited_is_told_all_the_same(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, quick_retries: None
) -> None:
    await buyer.subscribe()
    bought = await buyer.buy()
    unpaid = json_of(await buyer.ask_to_buy())["payment_intent_id"]
    sandbox.api.refuse(status=500, times=100, path_prefix="/v1/")
    assert await seen(buyer, bought["id"]) == ("succeeded", True, 50, 50)
    answer = await status(buyer, unpaid)
    assert (answer.code, json_of(answer)["code"]) == (503, "stripe_unavailable")
    assert answer.headers["Retry-After"]


@pytest.mark.gen_test
async def test_a_subscription_that_is_being_paid_is_looked_at(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, api: Api
) -> None:
    webhooks.hold()
    started = json_of(await buyer.ask_to_subscribe())
    assert (await buyer.plan())["status"] == "incomplete"
    sandbox.confirm_payment(started["client_secret"])
    plan = await buyer.plan()
    assert (plan["status"], plan["is_eligible"]) == ("active", True)
    asked = len(sandbox.api.calls)
    await buyer.plan()
    assert len(sandbox.api.calls) == asked, "one that is active is not looked at"


@pytest.mark.gen_test
async def test_a_subscription_that_is_being_paid_is_shown_while_stripe_is_down(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, quick_retries: None
) -> None:
    await buyer.ask_to_subscribe()
    sandbox.api.refuse(status=500, times=100, path_prefix="/v1/subscriptions")
    assert (await buyer.plan())["status"] == "incomplete"
