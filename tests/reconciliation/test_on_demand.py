"""Status of a top-up, and its credits if its webhook is late."""

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


class CountingPlugin:
    """Additional plugin that counts its runs, and fails while `failing` is set."""

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
def counted() -> CountingPlugin:
    return CountingPlugin()


@pytest.fixture
def extra_plugins(counted: CountingPlugin) -> tuple[Plugin, ...]:
    return (counted.plugin,)


async def status(buyer: Buyer, intent_id: str) -> HTTPResponse:
    return await buyer.api.get(f"{STATUS}/{intent_id}", buyer.account)


async def read_status(
    buyer: Buyer, intent_id: str, *, is_rejected: bool = False
) -> tuple[str, bool, int, int]:
    answer = await status(buyer, intent_id)
    assert answer.code == 200, answer.body
    fields = json_of(answer)
    assert list(fields) == STATUS_FIELDS
    assert fields["payment_intent_id"] == intent_id
    assert fields["rejected"] is is_rejected
    return fields["status"], fields["credited"], fields["credits"], fields["balance"]


async def paid_without_webhook(buyer: Buyer, sandbox: Sandbox) -> str:
    """Pay for a top-up while webhooks are held back, and return its PaymentIntent's id."""
    await buyer.subscribe()
    sandbox.webhooks.hold()
    started = json_of(await buyer.ask_to_buy())
    return str(sandbox.confirm_payment(started["client_secret"])["id"])


@pytest.mark.gen_test
async def test_status_from_creation_to_credits(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    started = json_of(await buyer.ask_to_buy())
    intent_id = started["payment_intent_id"]
    assert await read_status(buyer, intent_id) == ("requires_payment_method", False, 50, 0)
    sandbox.confirm_payment(started["client_secret"], card="pm_card_authenticationRequired")
    assert await read_status(buyer, intent_id) == ("requires_action", False, 50, 0)
    sandbox.authenticate(intent_id)
    await webhooks.settle()
    asked = len(sandbox.api.calls)
    assert await read_status(buyer, intent_id) == ("succeeded", True, 50, 50)
    assert len(sandbox.api.calls) == asked, "a credited top-up needs no request to Stripe"


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_status_request_credits_top_up_before_its_webhook(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service, counted: CountingPlugin
) -> None:
    intent_id = await paid_without_webhook(buyer, sandbox)
    assert await buyer.credits() == 0
    assert await read_status(buyer, intent_id) == ("succeeded", True, 50, 50)

    # It is processed like a delivery: with the event's id, by every plugin, and once.
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
async def test_concurrent_status_requests_and_webhook_credit_once(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service
) -> None:
    intent_id = await paid_without_webhook(buyer, sandbox)
    webhooks.duplicate(2)
    webhooks.release()
    answers = await asyncio.gather(*(read_status(buyer, intent_id) for _ in range(10)))
    await webhooks.settle()
    assert set(answers) == {("succeeded", True, 50, 50)}
    assert await buyer.credits() == 50
    assert len(await rows(service, "ledger")) == 1
    [runs] = await rows(service, "plugin_counted")
    assert runs["number"] == 2, "the subscription's payment, and this one"


@pytest.mark.gen_test
async def test_failure_of_another_plugin_does_not_prevent_credits(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, counted: CountingPlugin
) -> None:
    intent_id = await paid_without_webhook(buyer, sandbox)
    counted.failing = True
    assert await read_status(buyer, intent_id) == ("succeeded", True, 50, 50)


@pytest.mark.gen_test
async def test_failed_event_is_retried_from_database(
    buyer: Buyer,
    sandbox: Sandbox,
    webhooks: Webhooks,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    intent_id = await paid_without_webhook(buyer, sandbox)
    with monkeypatch.context() as broken:
        broken.setattr("datalayer_stripe.plugin_api.recorders.Ledger.credit", lambda *_: 1 / 0)
        assert await read_status(buyer, intent_id) == ("succeeded", False, 50, 0)
    asked = calls(sandbox, "GET", "/v1/events")
    assert await read_status(buyer, intent_id) == ("succeeded", True, 50, 50)
    assert calls(sandbox, "GET", "/v1/events") == asked


@pytest.mark.gen_test
async def test_rejected_top_up_is_not_retried_by_status_requests(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service
) -> None:
    intent_id = await paid_without_webhook(buyer, sandbox)
    [customer] = [row["customer_id"] for row in await rows(service, "customers")]
    await service.store._database.customers.update_many({}, {"$set": {"customer_id": "cus_new"}})
    assert await read_status(buyer, intent_id, is_rejected=True) == ("succeeded", False, 50, 0)
    [kept] = [row for row in await rows(service, "events") if row.get("rejected")]
    attempts = kept["handlers"]["top-up-credits"]["attempts"]
    assert await read_status(buyer, intent_id, is_rejected=True) == ("succeeded", False, 50, 0)
    [kept] = [row for row in await rows(service, "events") if row.get("rejected")]
    assert kept["handlers"]["top-up-credits"]["attempts"] == attempts == 1
    # After the cause is corrected and the event replayed, it is credited.
    await service.store._database.customers.update_many({}, {"$set": {"customer_id": customer}})
    await service.processor.replay(kept["_id"])
    assert await read_status(buyer, intent_id) == ("succeeded", True, 50, 50)


@pytest.mark.gen_test
async def test_status_of_top_up_that_its_webhook_rejected(
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
async def test_top_up_is_not_credited_before_stripe_has_its_event(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    intent_id = await paid_without_webhook(buyer, sandbox)
    sandbox.forget_events()
    assert await read_status(buyer, intent_id) == ("succeeded", False, 50, 0)


@pytest.mark.gen_test
async def test_status_is_succeeded_while_events_cannot_be_listed(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, quick_retries: None
) -> None:
    intent_id = await paid_without_webhook(buyer, sandbox)
    sandbox.api.refuse(status=500, times=100, path_prefix="/v1/events")
    assert await read_status(buyer, intent_id) == ("succeeded", False, 50, 0)
    sandbox.api.normal()
    assert await read_status(buyer, intent_id) == ("succeeded", True, 50, 50)


@pytest.mark.gen_test
async def test_status_is_refused_to_other_accounts(
    buyer: Buyer, stranger: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    intent_id = await paid_without_webhook(buyer, sandbox)
    uncredited = await status(stranger, intent_id)
    assert (uncredited.code, json_of(uncredited)["code"]) == (403, "forbidden")
    assert await buyer.credits() == 0, "a request of another account adds no credits"
    await read_status(buyer, intent_id)
    credited = await status(stranger, intent_id)
    assert (credited.code, json_of(credited)["code"]) == (403, "forbidden")
    assert "credits" not in json_of(credited)
    assert (await buyer.api.get(f"{STATUS}/{intent_id}", None)).code == 401


@pytest.mark.gen_test
async def test_status_of_foreign_or_unknown_payment_is_not_found(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    theirs = sandbox.call("POST", "/v1/payment_intents", amount=500, currency="usd")["id"]
    for intent_id in (theirs, "pi_unknown"):
        answer = await status(buyer, intent_id)
        assert (answer.code, json_of(answer)["code"]) == (404, "not_found")


@pytest.mark.parametrize("intent_id", ["ch_1", "pi_", "pi_1/../x", "pi_1%00", "pi_%22", "pi_1?x"])
@pytest.mark.gen_test
async def test_invalid_id_is_not_sent_to_stripe(
    buyer: Buyer, sandbox: Sandbox, shop: Shop, intent_id: str
) -> None:
    answer = await status(buyer, intent_id)
    assert answer.code == 404
    if "?" not in intent_id:
        assert not sandbox.api.calls


@pytest.mark.gen_test
async def test_status_of_credited_top_up_while_stripe_is_down(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, quick_retries: None
) -> None:
    await buyer.subscribe()
    bought = await buyer.buy()
    unpaid = json_of(await buyer.ask_to_buy())["payment_intent_id"]
    sandbox.api.refuse(status=500, times=100, path_prefix="/v1/")
    assert await read_status(buyer, bought["id"]) == ("succeeded", True, 50, 50)
    answer = await status(buyer, unpaid)
    assert (answer.code, json_of(answer)["code"]) == (503, "stripe_unavailable")
    assert answer.headers["Retry-After"]


@pytest.mark.gen_test
async def test_incomplete_subscription_is_read_from_stripe(
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
    assert len(sandbox.api.calls) == asked, "an active subscription is not read"


@pytest.mark.gen_test
async def test_incomplete_subscription_is_shown_while_stripe_is_down(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, quick_retries: None
) -> None:
    await buyer.ask_to_subscribe()
    sandbox.api.refuse(status=500, times=100, path_prefix="/v1/subscriptions")
    assert (await buyer.plan())["status"] == "incomplete"
