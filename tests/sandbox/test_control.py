"""The API's troubles, the controls over HTTP, and the sandbox on its own."""

import asyncio
import json
import re
import sys
from typing import Any

import aiohttp
import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox, Shopfront
from datalayer_stripe.sandbox.pages.control import controls, reports
from tests.sandbox.conftest import SECRET, Http, Receiver, Shop


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("status", "expected"),
    [(429, stripe.RateLimitError), (500, stripe.APIError), (503, stripe.APIError)],
)
async def test_the_api_refuses(
    sandbox: Sandbox, client: stripe.StripeClient, status: int, expected: type[Exception]
) -> None:
    sandbox.api.refuse(status=status, times=1, path_prefix="/v1/customers")
    await client.v1.prices.list_async()
    with pytest.raises(expected) as caught:
        await client.v1.customers.create_async({}, {"idempotency_key": "k"})
    assert getattr(caught.value, "http_status", None) == status
    await client.v1.customers.create_async({}, {"idempotency_key": "k"})
    assert sandbox.api.calls == [
        ("GET", "/v1/prices", None, 200),
        ("POST", "/v1/customers", "k", status),
        ("POST", "/v1/customers", "k", 200),
    ]


@pytest.mark.gen_test
@pytest.mark.parametrize("cut_after", [False, True])
async def test_a_connection_is_cut_and_a_repetition_executes_once(
    sandbox: Sandbox, client: stripe.StripeClient, cut_after: bool
) -> None:
    sandbox.api.cut(1, cut_after=cut_after)
    with pytest.raises(stripe.APIConnectionError):
        await client.v1.customers.create_async({}, {"idempotency_key": "k"})
    assert len(sandbox.events) == (1 if cut_after else 0)
    assert sandbox.api.calls == [("POST", "/v1/customers", "k", None)]
    await client.v1.customers.create_async({}, {"idempotency_key": "k"})
    assert len(sandbox.events) == 1


@pytest.mark.gen_test
async def test_the_sdk_retries_by_itself(sandbox: Sandbox) -> None:
    transport = stripe.AIOHTTPClient()
    retrying = stripe.StripeClient(
        sandbox.secret_key,
        base_addresses={"api": sandbox.url},
        http_client=transport,
        max_network_retries=2,
    )
    sandbox.api.refuse(503)
    sandbox.api.cut(1, cut_after=True)
    await retrying.v1.customers.create_async({"name": "x"})
    await transport.close_async()
    assert len(sandbox.events) == 1
    assert [call.status for call in sandbox.api.calls] == [503, None, 200]
    assert len({call.idempotency_key for call in sandbox.api.calls}) == 1


@pytest.mark.gen_test
async def test_the_api_is_slow(sandbox: Sandbox) -> None:
    sandbox.api.delay(30, path_prefix="/v1/prices")
    transports = [
        stripe.AIOHTTPClient(timeout=aiohttp.ClientTimeout(total=seconds)) for seconds in (60, 0.5)
    ]
    patient, impatient = (
        stripe.StripeClient(
            sandbox.secret_key,
            base_addresses={"api": sandbox.url},
            http_client=transport,
            max_network_retries=0,
        )
        for transport in transports
    )
    await patient.v1.customers.list_async()
    with pytest.raises(stripe.APIConnectionError):
        await impatient.v1.prices.list_async()
    sandbox.api.normal()
    await patient.v1.prices.list_async()
    for transport in transports:
        await transport.close_async()


async def post(http: Http, name: str, **arguments: Any) -> Any:
    response = await http(
        "POST",
        f"/sandbox/{name}",
        json.dumps(arguments),
        key=None,
        Content_Type="application/json",
    )
    body = json.loads(response.body)
    assert response.code == 200, body
    return body


async def get(http: Http, name: str) -> Any:
    return json.loads((await http("GET", f"/sandbox/{name}", key=None)).body)


@pytest.mark.gen_test
async def test_another_process_drives_it(
    sandbox: Sandbox, http: Http, shop: Shop, receiver: Receiver
) -> None:
    subscription = sandbox.call(
        "POST",
        "/v1/subscriptions",
        customer=shop.customer,
        items=[{"price": shop.monthly}],
        payment_behavior="default_incomplete",
        payment_settings={"save_default_payment_method": "on_subscription"},
        expand=["latest_invoice.confirmation_secret"],
    )
    secret = subscription["latest_invoice"]["confirmation_secret"]["client_secret"]
    await post(http, "confirm_payment", client_secret_or_id=secret, card="4000000000003220")
    intent_id = secret.split("_secret_")[0]
    paid = await post(http, "authenticate", intent_id=intent_id, accept=True)
    assert paid["status"] == "succeeded"
    subscription_id = subscription["id"]
    sandbox.call("POST", "/v1/payment_methods/pm_card_visa/attach", customer=shop.customer)
    failed = await post(http, "renew", subscription_id=subscription_id, fail=True)
    assert failed["status"] == "past_due"
    invoice = await post(http, "pay_invoice", invoice_id=failed["latest_invoice"])
    assert invoice["status"] == "paid"
    await post(http, "webhooks/hold")
    refund = await post(http, "refund", payment_intent_id=intent_id, amount=100)
    assert refund["amount"] == 100
    held = sandbox.webhooks.held
    assert held == 3
    assert await post(http, "webhooks/release", order="reversed") == {"released": held}
    await post(http, "webhooks/settle", timeout=5)
    again = await post(http, "webhooks/deliver", event_id=sandbox.events[-1]["id"])
    assert again["status"] == 200
    canceled = await post(http, "cancel_subscription", subscription_id=subscription_id)
    assert canceled["status"] == "canceled"
    assert await post(http, "clock/advance", seconds=3600) == {"touched": []}
    await post(http, "webhooks/settle")

    assert (await get(http, "clock"))["offset"] == 3600
    deliveries = await get(http, "deliveries")
    assert len(deliveries["attempts"]) == len(receiver.requests)
    assert len((await get(http, "events"))["events"]) == len(sandbox.events)
    await post(http, "api/refuse", status=503)
    assert (await http("GET", "/v1/prices")).code == 503
    assert (await get(http, "calls"))["calls"][-1]["status"] == 503


@pytest.mark.gen_test
async def test_every_control_of_webhooks_and_api_is_there(sandbox: Sandbox, http: Http) -> None:
    for name, arguments in {
        "webhooks/duplicate": {"times": 2},
        "webhooks/reorder": {"seed": 1},
        "webhooks/delay": {"seconds": 1},
        "webhooks/drop": {"n": 1},
        "webhooks/refuse": {"n": 1},
        "webhooks/normal": {},
        "api/delay": {"seconds": 1},
        "api/cut": {"times": 1, "cut_after": True},
        "api/normal": {},
    }.items():
        assert await post(http, name, **arguments) == {"ok": True}
    assert set(reports(sandbox)) == {
        "calls",
        "clock",
        "deliveries",
        "events",
        "object",
        "overview",
    }
    made = await post(
        http,
        "create_webhook_endpoint",
        url="http://127.0.0.1:9/hook",
        secret=SECRET,
        enabled_events=["price.created"],
    )
    assert made["object"] == "webhook_endpoint"
    setup = sandbox.call("POST", "/v1/setup_intents")
    assert (await post(http, "confirm_setup", client_secret_or_id=setup["id"]))["status"]


@pytest.mark.gen_test
async def test_controls_refuse_what_they_must(sandbox: Sandbox, http: Http) -> None:
    for name, body, content_type, status in (
        ("renew", '{"subscription_id": "sub_none"}', "application/json", 404),
        ("renew", '{"subscription": "x"}', "application/json", 400),
        ("renew", "[1]", "application/json", 400),
        ("renew", "{", "application/json", 400),
        ("renew", "{}", "text/plain", 415),
        ("clock/advance", '{"seconds": -1}', "application/json", 400),
        ("clock", "{}", "application/json", 404),
        ("nothing", "{}", "application/json", 404),
        ("webhooks/deliver", '{"event_id": "evt_none"}', "application/json", 404),
    ):
        response = await http("POST", f"/sandbox/{name}", body, key=None, Content_Type=content_type)
        assert response.code == status, (name, body)
    assert (await http("GET", "/sandbox/renew", key=None)).code == 404
    assert "renew" in controls(sandbox)
    intent = sandbox.call("POST", "/v1/payment_intents", amount=500, currency="usd")
    declined = await http(
        "POST",
        "/sandbox/confirm_payment",
        json.dumps({"client_secret_or_id": intent["id"], "card": "4000000000000002"}),
        key=None,
        Content_Type="application/json",
    )
    assert declined.code == 402
    assert json.loads(declined.body)["error"]["code"] == "card_declined"


@pytest.mark.gen_test
async def test_deliveries_are_reported_from_where_the_reader_left_off(
    sandbox: Sandbox, http: Http, receiver: Receiver
) -> None:
    for name in ("first", "second"):
        sandbox.create_product(name=name)
        await sandbox.webhooks.settle()
    everything = await get(http, "deliveries")
    assert (len(everything["attempts"]), everything["next"]) == (2, 2)
    rest = await get(http, "deliveries?after=1")
    assert [attempt["event_id"] for attempt in rest["attempts"]] == [sandbox.events[1]["id"]]
    assert (await get(http, "deliveries?after=2"))["attempts"] == []
    assert (await http("GET", "/sandbox/deliveries?after=x", key=None)).code == 400
    assert (await http("GET", "/sandbox/deliveries?before=1", key=None)).code == 400


@pytest.mark.gen_test
async def test_an_object_is_reported(sandbox: Sandbox, http: Http) -> None:
    product = sandbox.create_product(name="Credits")
    assert await get(http, f"object?object_id={product['id']}") == product
    assert (await http("GET", "/sandbox/object?object_id=prod_none", key=None)).code == 404


@pytest.mark.gen_test
async def test_control_of_an_unknown_object_says_that_there_is_none(http: Http) -> None:
    for name, arguments in {
        "close_dispute": {"dispute_id": "", "won": True},
        "renew": {"subscription_id": "sub_none"},
        "refund": {"payment_intent_id": "pi_none"},
    }.items():
        body = json.dumps(arguments)
        refused = await http(
            "POST", f"/sandbox/{name}", body, key=None, Content_Type="application/json"
        )
        message = json.loads(refused.body)["error"]["message"]
        assert refused.code in (400, 404)
        assert "Error" not in message
        assert re.match(r"(There is no|No such) ", message), message


@pytest.mark.gen_test
async def test_overview_says_what_the_shop_tells_of_itself(sandbox: Sandbox, http: Http) -> None:
    assert json.loads((await http("GET", "/sandbox/overview", key=None)).body)["shop"] is None

    async def facts() -> dict[str, str]:
        return {"Balance": "50 credits"}

    sandbox.shop = Shopfront(name="Checkout page", url="http://127.0.0.1:9700/", facts=facts)
    shown = json.loads((await http("GET", "/sandbox/overview", key=None)).body)
    assert shown["shop"] == {
        "name": "Checkout page",
        "url": "http://127.0.0.1:9700/",
        "facts": {"Balance": "50 credits"},
    }


@pytest.mark.gen_test
async def test_the_overview_stays_the_same_while_nothing_happens(
    sandbox: Sandbox, http: Http, shop: Shop
) -> None:
    subscription = sandbox.call(
        "POST",
        "/v1/subscriptions",
        customer=shop.customer,
        items=[{"price": shop.monthly}],
        payment_behavior="default_incomplete",
        expand=["latest_invoice.confirmation_secret"],
    )
    secret = subscription["latest_invoice"]["confirmation_secret"]["client_secret"]
    intent_id = secret.split("_secret_")[0]
    sandbox.confirm_payment(secret)
    sandbox.refund(intent_id, 900)
    sandbox.webhooks.hold()
    first = await http("GET", "/sandbox/overview", key=None)
    shown = json.loads(first.body)
    assert shown["customers"] == [{"id": shop.customer, "name": "Ada", "email": "ada@example.com"}]
    assert [(s["status"], s["amount"]) for s in shown["subscriptions"]] == [("active", 2900)]
    (payment,) = shown["payments"]
    assert (payment["id"], payment["status"]) == (intent_id, "succeeded")
    assert (payment["amount"], payment["amount_refunded"]) == (2900, 900)
    assert payment["receipt_url"].startswith(sandbox.url)
    assert shown["webhooks"] == {"copies": 1, "drops": 0, "held": 0, "holding": True}
    etag = first.headers["ETag"]
    again = await http("GET", "/sandbox/overview", key=None, If_None_Match=etag)
    assert again.code == 304
    sandbox.advance(60)
    later = await http("GET", "/sandbox/overview", key=None, If_None_Match=etag)
    assert json.loads(later.body)["offset"] == 60


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:9701", 200),
        ("127.0.0.1", 200),
        ("[::1]:9701", 200),
        ("rebound.example.com:9701", 421),
    ],
)
async def test_the_controls_are_not_for_pages_whose_name_points_here(
    sandbox: Sandbox, http: Http, host: str, status: int
) -> None:
    for path in ("/sandbox/clock", "/sandbox/panel"):
        assert (await http("GET", path, key=None, Host=host)).code == status
    answer = await http(
        "POST", "/sandbox/api/normal", "{}", key=None, Host=host, Content_Type="application/json"
    )
    assert answer.code == status


@pytest.mark.gen_test
async def test_recorded_objects_are_stored_as_they_are(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    with pytest.raises(KeyError):
        sandbox.get("prod_none")
    product = {**sandbox.get(shop.product), "id": "prod_recorded", "name": "Recorded"}
    sandbox.put(product)
    product["name"] = "changed afterwards"
    assert (await client.v1.products.retrieve_async("prod_recorded")).name == "Recorded"
    sandbox.get("prod_recorded")["name"] = "changed outside"
    assert sandbox.get("prod_recorded")["name"] == "Recorded"


@pytest.mark.gen_test
async def test_two_sandboxes_share_nothing(sandbox: Sandbox) -> None:
    other = Sandbox(secret_key="sk_test_other")
    await other.start()
    sandbox.create_customer()
    assert other.events == []
    assert other.url != sandbox.url
    await other.stop()


@pytest.mark.gen_test
async def test_it_runs_alone(receiver: Receiver) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "datalayer_stripe.sandbox",
        "--webhook",
        receiver.url,
        "--secret",
        SECRET,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    url, secret_key, publishable_key = [
        (await process.stdout.readline()).decode().split()[-1] for _ in range(3)
    ]
    assert publishable_key.startswith("pk_test_")
    transport = stripe.AIOHTTPClient()
    client = stripe.StripeClient(secret_key, base_addresses={"api": url}, http_client=transport)
    await client.v1.customers.create_async({"name": "x"})
    http = Http(url, secret_key)
    await post(http, "webhooks/settle")
    http.close()
    await transport.close_async()
    assert receiver.types == ["customer.created"]
    process.terminate()
    await process.communicate()
    assert process.returncode == 0
