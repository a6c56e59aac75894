"""The calls that each route makes to the database and to Stripe, as docs/http-api.md lists them.

Commands are counted by the driver's monitoring on a real MongoDB, calls to Stripe by the sandbox.
"""

import json
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from tornado.httpclient import HTTPResponse

from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.settings import Settings
from tests.handlers.stream_reader import open_stream
from tests.handlers.subscription_requests import cancel, renew_card, resume
from tests.support.app import ACCOUNT, changed, json_of, recorded
from tests.support.commands import COUNTER, CommandCounter
from tests.support.shop import IAM_ROUTES, STRIPE_ROUTES, Buyer, Shop
from tests.support.thin import thin_body
from tests.test_docs import HTTP_API, code, table, written_routes

ADMIN = f"{STRIPE_ROUTES}/admin"


@pytest.fixture
def settings(settings: Settings, shop: Shop) -> Settings:
    """Return settings with one plan, because the prices of each plan are a call of their own."""
    return settings.model_copy(update={"stripe_subscription_product_ids": (shop.plan_product,)})


Request = Callable[[Buyer], Awaitable[HTTPResponse | None]]
Step = Callable[[Buyer], Awaitable[object]]


async def nothing(_: Buyer) -> None:
    """Prepare nothing."""


class Cost(NamedTuple):
    """The commands that a request sends to the database, and its calls to Stripe."""

    database: int
    stripe: int


@dataclass(frozen=True)
class Scenario:
    """A request, and what happens before it is sent first and before it is sent again."""

    send: Request
    prepare: Step = nothing
    prepare_again: Step = nothing


def get(path: str, prepare: Step = nothing) -> Scenario:
    return Scenario(lambda buyer: buyer.api.get(path), prepare)


def as_operator(path: str, prepare: Step = nothing) -> Scenario:
    return Scenario(lambda buyer: buyer.api.get_as_operator(f"{ADMIN}{path}"), prepare)


async def replay(buyer: Buyer) -> HTTPResponse:
    [paid] = [one for one in buyer.sandbox.events if one["type"] == "payment_intent.succeeded"][-1:]
    return await buyer.api.post_as_operator(f"{ADMIN}/events/{paid['id']}/replay")


async def subscribe(buyer: Buyer) -> None:
    await buyer.subscribe()


async def subscribe_and_buy(buyer: Buyer) -> None:
    await buyer.subscribe()
    await buyer.buy()


async def subscribe_and_cancel(buyer: Buyer) -> None:
    await buyer.subscribe()
    await cancel_only(buyer)


async def cancel_only(buyer: Buyer) -> None:
    await cancel(buyer.api)


async def leave_unpaid(buyer: Buyer) -> None:
    await buyer.ask_to_subscribe()


async def order(buyer: Buyer) -> None:
    await buyer.subscribe()
    await buyer.ask_to_buy()


async def read_stream(buyer: Buyer) -> None:
    async with open_stream(buyer.api) as reader:
        assert [(await reader.next()).name for _ in range(2)] == ["balance", "plan"]
        # The first stream of a process reads once more when the change stream is open.
        await COUNTER.reach_target()


async def top_up_status(buyer: Buyer) -> HTTPResponse:
    [intent] = [one for one in buyer.sandbox.objects if one["object"] == "payment_intent"][-1:]
    return await buyer.api.get(f"{STRIPE_ROUTES}/topup/payment-intent/{intent['id']}")


async def open_portal(buyer: Buyer) -> HTTPResponse:
    body = {"return_url": "https://example.com/"}
    return await buyer.api.post(f"{IAM_ROUTES}/checkout/portal", body)


async def account_details(buyer: Buyer) -> HTTPResponse:
    body = {"account_uids": [ACCOUNT]}
    return await buyer.api.post(f"{IAM_ROUTES}/plans/accounts/details", body)


async def deliver_payment(buyer: Buyer) -> HTTPResponse:
    return await buyer.api.deliver(recorded("payment_intent.succeeded"))


async def become_known(buyer: Buyer) -> None:
    customer = json.loads(recorded("payment_intent.succeeded"))["data"]["object"]["customer"]
    await buyer.api.service.store.customers.adopt(ACCOUNT, customer, buyer.api.service.clock())
    await deliver_payment(buyer)


def new_payment(buyer: Buyer) -> dict[str, Any]:
    """Create the snapshot event of a new payment at Stripe, and return it."""
    event = json.loads(changed(recorded("payment_intent.succeeded")))
    event["data"]["object"]["id"] = f"pi_{uuid.uuid4().hex}"
    return buyer.sandbox.put_event(event)


async def deliver_processed(buyer: Buyer, body: bytes) -> HTTPResponse:
    answer = await buyer.api.deliver(body)
    assert json_of(answer)["outcome"] == "processed"
    return answer


async def deliver_new_payment(buyer: Buyer) -> HTTPResponse:
    return await deliver_processed(buyer, json.dumps(new_payment(buyer)).encode())


async def deliver_thin_payment(buyer: Buyer) -> HTTPResponse:
    return await deliver_processed(buyer, thin_body(new_payment(buyer)))


async def deliver_thin_duplicate(buyer: Buyer) -> HTTPResponse:
    answer = await buyer.api.deliver(thin_body(buyer.sandbox.events[-1]))
    assert json_of(answer)["outcome"] == "duplicate"
    return answer


async def deliver_subscription(buyer: Buyer) -> HTTPResponse:
    [subscription] = [one for one in buyer.sandbox.objects if one["object"] == "subscription"]
    event = json.loads(changed(recorded("customer.subscription.updated")))
    event["data"]["object"] = subscription
    answer = await buyer.api.deliver(json.dumps(event).encode())
    assert json_of(answer)["outcome"] == "processed"
    return answer


SCENARIOS: dict[tuple[str, str], Scenario] = {
    (f"GET {STRIPE_ROUTES}/topup/prices", ""): get(f"{STRIPE_ROUTES}/topup/prices"),
    (f"GET {IAM_ROUTES}/subscription", "active"): get(f"{IAM_ROUTES}/subscription", subscribe),
    (f"GET {IAM_ROUTES}/subscription", "none"): get(f"{IAM_ROUTES}/subscription"),
    (f"GET {IAM_ROUTES}/subscription", "incomplete"): get(
        f"{IAM_ROUTES}/subscription", leave_unpaid
    ),
    (f"GET {IAM_ROUTES}/usage/credits", ""): get(f"{IAM_ROUTES}/usage/credits"),
    (f"GET {IAM_ROUTES}/subscription/plans", ""): get(f"{IAM_ROUTES}/subscription/plans"),
    (f"POST {STRIPE_ROUTES}/topup/payment-intent", ""): Scenario(Buyer.ask_to_buy, subscribe),
    (f"GET {STRIPE_ROUTES}/topup/payment-intent/{{id}}", "credited"): Scenario(
        top_up_status, subscribe_and_buy
    ),
    (f"GET {STRIPE_ROUTES}/topup/payment-intent/{{id}}", "not paid"): Scenario(
        top_up_status, order
    ),
    (f"GET {STRIPE_ROUTES}/topup/history", "one new receipt"): get(
        f"{STRIPE_ROUTES}/topup/history", subscribe_and_buy
    ),
    (f"GET {STRIPE_ROUTES}/docs", ""): get(f"{STRIPE_ROUTES}/docs"),
    (f"GET {STRIPE_ROUTES}/openapi.json", ""): get(f"{STRIPE_ROUTES}/openapi.json"),
    (f"GET {STRIPE_ROUTES}/stream", ""): Scenario(read_stream, subscribe),
    (f"POST {STRIPE_ROUTES}/subscription/payment-intent", ""): Scenario(Buyer.ask_to_subscribe),
    (f"POST {STRIPE_ROUTES}/subscription/resume/setup-intent", ""): Scenario(
        lambda buyer: renew_card(buyer.api), subscribe
    ),
    (f"POST {IAM_ROUTES}/subscription/cancel", ""): Scenario(
        lambda buyer: cancel(buyer.api), subscribe
    ),
    (f"POST {IAM_ROUTES}/subscription/resume", ""): Scenario(
        lambda buyer: resume(buyer.api), subscribe_and_cancel, cancel_only
    ),
    (f"POST {IAM_ROUTES}/checkout/portal", ""): Scenario(open_portal, subscribe),
    (f"GET {IAM_ROUTES}/plans/eligible-accounts", ""): get(
        f"{IAM_ROUTES}/plans/eligible-accounts", subscribe
    ),
    (f"POST {IAM_ROUTES}/plans/accounts/details", ""): Scenario(account_details, subscribe),
    (f"GET {IAM_ROUTES}/whoami", ""): get(f"{IAM_ROUTES}/whoami"),
    (f"GET {IAM_ROUTES}/memberships", ""): get(f"{IAM_ROUTES}/memberships"),
    (f"GET {IAM_ROUTES}/ping", ""): get(f"{IAM_ROUTES}/ping"),
    (f"GET {ADMIN}/overview", ""): as_operator("/overview"),
    (f"GET {ADMIN}/events", ""): as_operator("/events"),
    (f"GET {ADMIN}/events", "of an account"): as_operator(f"/events?account_uid={ACCOUNT}"),
    (f"POST {ADMIN}/events/{{id}}/replay", "processed"): Scenario(replay, subscribe_and_buy),
    (f"GET {ADMIN}/accounts", ""): as_operator("/accounts"),
    (f"GET {ADMIN}/accounts", "by a prefix"): as_operator(f"/accounts?query={ACCOUNT[:4]}"),
    (f"GET {ADMIN}/accounts/{{id}}", ""): as_operator(f"/accounts/{ACCOUNT}", subscribe_and_buy),
    (f"GET {ADMIN}/accounts/{{id}}/ledger", ""): as_operator(f"/accounts/{ACCOUNT}/ledger"),
    (f"GET {ADMIN}/accounts/{{id}}/payments", ""): as_operator(f"/accounts/{ACCOUNT}/payments"),
    (f"GET {ADMIN}/doctor", ""): as_operator("/doctor"),
    ("GET /healthz", ""): get("/healthz"),
    ("GET /readyz", ""): get("/readyz"),
    ("GET /metrics", ""): get("/metrics"),
    (f"GET {ADMIN}", ""): get(ADMIN),
    ("GET /checkout", ""): get("/checkout"),
    (f"POST {STRIPE_ROUTES}/webhook", "payment by a known customer"): Scenario(
        deliver_new_payment, become_known
    ),
    (
        f"POST {STRIPE_ROUTES}/webhook",
        "payment by an unknown customer, then the same again",
    ): Scenario(deliver_payment),
    (f"POST {STRIPE_ROUTES}/webhook", "thin event of a payment"): Scenario(
        deliver_thin_payment, become_known
    ),
    (f"POST {STRIPE_ROUTES}/webhook", "thin event of a processed event"): Scenario(
        deliver_thin_duplicate, deliver_new_payment
    ),
    (f"POST {STRIPE_ROUTES}/webhook", "subscription"): Scenario(deliver_subscription, subscribe),
}


def documented() -> dict[tuple[str, str], tuple[Cost, Cost]]:
    """Return what the documents say of the first and of each further request, by its case."""
    return {
        (code(row["request"])[0], row["case"]): (
            Cost(int(row["database, first"]), int(row["Stripe, first"])),
            Cost(int(row["database, again"]), int(row["Stripe, again"])),
        )
        for row in table(HTTP_API, "request")
    }


def test_costs_of_every_route_are_documented_and_measured() -> None:
    requests = {tuple(request.split(" ")) for request, _ in SCENARIOS}
    assert requests == written_routes("route"), "add a scenario for each route"
    assert set(documented()) == set(SCENARIOS), "docs/http-api.md lists other cases"


def test_routes_that_pages_poll_cost_one_command_at_most() -> None:
    polled = ("topup/prices", "usage/credits", "v1/subscription")
    for (request, case), (_, again) in documented().items():
        if request.startswith("GET ") and request.endswith(polled) and case != "incomplete":
            assert again.database <= 1
            assert again.stripe == 0


@pytest.mark.mongod
@pytest.mark.gen_test
@pytest.mark.parametrize("case", SCENARIOS, ids=" ".join)
async def test_request_costs_what_is_documented(
    buyer: Buyer, webhooks: Webhooks, commands: CommandCounter, case: tuple[str, str]
) -> None:
    scenario, sandbox = SCENARIOS[case], buyer.sandbox
    await scenario.prepare(buyer)
    await webhooks.settle()
    webhooks.hold()  # a delivery of the sandbox would be counted with the request
    buyer.api.service.catalog.clear_cache()
    for expected in documented()[case]:
        calls_before = len(sandbox.api.calls)
        commands.clear()
        commands.target = expected.database
        answer = await scenario.send(buyer)
        assert answer is None or answer.code < 300, answer.body
        measured = Cost(len(commands.names), len(sandbox.api.calls) - calls_before)
        if case[0].endswith("/stream"):
            # The change stream may report a change of the preparation, and wake the stream.
            assert measured.database - expected.database in (0, 1), commands.names
            assert measured.stripe == expected.stripe
        else:
            assert measured == expected, commands.names
        await scenario.prepare_again(buyer)
