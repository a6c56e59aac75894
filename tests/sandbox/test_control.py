"""The API's troubles, the controls over HTTP, the pages, and the sandbox on its own."""

import asyncio
import json
import sys
from typing import Any

import aiohttp
import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.control import controls, reports
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
    transport = stripe.AIOHTTPClient(timeout=aiohttp.ClientTimeout(total=0.2))
    impatient = stripe.StripeClient(
        sandbox.secret_key,
        base_addresses={"api": sandbox.url},
        http_client=transport,
        max_network_retries=0,
    )
    await impatient.v1.customers.list_async()
    with pytest.raises(stripe.APIConnectionError):
        await impatient.v1.prices.list_async()
    sandbox.api.normal()
    await impatient.v1.prices.list_async()
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
    assert set(reports(sandbox)) == {"deliveries", "calls", "events", "clock"}
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
        ("renew", '{"subscription_id": "sub_none"}', "application/json", 400),
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
async def test_pages(sandbox: Sandbox, http: Http, shop: Shop) -> None:
    def intent(**params: Any) -> dict[str, Any]:
        return sandbox.call(
            "POST",
            "/v1/payment_intents",
            amount=500,
            currency="usd",
            confirm=True,
            payment_method="pm_card_threeDSecure2Required",
            **params,
        )

    back = "https://shop.example.com/done"
    redirected, in_place = intent(return_url=back), intent(use_stripe_sdk=True)
    path = f"/sandbox/authenticate/{redirected['id']}"
    assert b"Complete" in (await http("GET", path, key=None)).body
    form = "application/x-www-form-urlencoded"
    done = await http("POST", path, "accept=true", key=None, Content_Type=form)
    assert (done.code, done.headers["Location"]) == (302, back)
    assert sandbox.get(redirected["id"])["status"] == "succeeded"
    assert b"Nothing to do" in (await http("GET", path, key=None)).body
    late = await http("POST", path, "accept=true", key=None, Content_Type=form)
    assert b"does not wait" in late.body
    other = f"/sandbox/authenticate/{in_place['id']}"
    refused = await http("POST", other, "accept=false", key=None, Content_Type=form)
    assert b"requires_payment_method" in refused.body

    receipt = sandbox.get(sandbox.get(redirected["id"])["latest_charge"])["receipt_url"]
    shown = await http("GET", receipt.removeprefix(sandbox.url), key=None)
    assert b"500 usd, succeeded" in shown.body
    for missing in ("/sandbox/receipts/ch_none", f"/sandbox/portal/{shop.customer}"):
        assert (await http("GET", missing, key=None)).code == 404


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
    url = (await process.stdout.readline()).decode().split()[-1]
    transport = stripe.AIOHTTPClient()
    client = stripe.StripeClient(
        "sk_test_example", base_addresses={"api": url}, http_client=transport
    )
    await client.v1.customers.create_async({"name": "x"})
    http = Http(url)
    await post(http, "webhooks/settle")
    http.close()
    await transport.close_async()
    assert receiver.types == ["customer.created"]
    process.terminate()
    await process.communicate()
    assert process.returncode == 0
