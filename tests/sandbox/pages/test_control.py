"""The JSON API that controls the sandbox."""

import json
import re

import pytest

from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.pages.control import controls, reports
from tests.sandbox.conftest import (
    SECRET,
    Http,
    Receiver,
    Shop,
    create_subscription,
    get_report,
    run_control,
)


@pytest.mark.gen_test
async def test_controls_drive_subscription_and_deliveries(
    sandbox: Sandbox, http: Http, shop: Shop, receiver: Receiver
) -> None:
    subscription = create_subscription(sandbox, shop)
    secret = subscription["latest_invoice"]["confirmation_secret"]["client_secret"]
    await run_control(http, "confirm_payment", client_secret_or_id=secret, card="4000000000003220")
    intent_id = secret.split("_secret_")[0]
    paid = await run_control(http, "authenticate", intent_id=intent_id, accept=True)
    assert paid["status"] == "succeeded"
    subscription_id = subscription["id"]
    sandbox.call("POST", "/v1/payment_methods/pm_card_visa/attach", customer=shop.customer)
    failed = await run_control(http, "renew", subscription_id=subscription_id, fail=True)
    assert failed["status"] == "past_due"
    invoice = await run_control(http, "pay_invoice", invoice_id=failed["latest_invoice"])
    assert invoice["status"] == "paid"
    await run_control(http, "webhooks/hold")
    refund = await run_control(http, "refund", payment_intent_id=intent_id, amount=100)
    assert refund["amount"] == 100
    held = sandbox.webhooks.held
    assert held == 3
    assert await run_control(http, "webhooks/release", order="reversed") == {"released": held}
    await run_control(http, "webhooks/settle", timeout=5)
    again = await run_control(http, "webhooks/deliver", event_id=sandbox.events[-1]["id"])
    assert again["status"] == 200
    canceled = await run_control(http, "cancel_subscription", subscription_id=subscription_id)
    assert canceled["status"] == "canceled"
    assert await run_control(http, "clock/advance", seconds=3600) == {"touched": []}
    await run_control(http, "webhooks/settle")

    assert (await get_report(http, "clock"))["offset"] == 3600
    deliveries = await get_report(http, "deliveries")
    assert len(deliveries["attempts"]) == len(receiver.requests)
    assert len((await get_report(http, "events"))["events"]) == len(sandbox.events)
    await run_control(http, "api/refuse", status=503)
    assert (await http("GET", "/v1/prices")).code == 503
    assert (await get_report(http, "calls"))["calls"][-1]["status"] == 503


@pytest.mark.gen_test
async def test_all_controls_and_reports_exist(sandbox: Sandbox, http: Http) -> None:
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
        assert await run_control(http, name, **arguments) == {"ok": True}
    assert set(reports(sandbox)) == {
        "calls",
        "clock",
        "deliveries",
        "events",
        "object",
        "overview",
    }
    endpoint = await run_control(
        http,
        "create_webhook_endpoint",
        url="http://127.0.0.1:9/hook",
        secret=SECRET,
        enabled_events=["price.created"],
    )
    assert endpoint["object"] == "webhook_endpoint"
    setup = sandbox.call("POST", "/v1/setup_intents")
    assert (await run_control(http, "confirm_setup", client_secret_or_id=setup["id"]))["status"]


@pytest.mark.gen_test
async def test_invalid_control_request_is_rejected(sandbox: Sandbox, http: Http) -> None:
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
async def test_deliveries_are_reported_from_given_position(
    sandbox: Sandbox, http: Http, receiver: Receiver
) -> None:
    for name in ("first", "second"):
        sandbox.create_product(name=name)
        await sandbox.webhooks.settle()
    everything = await get_report(http, "deliveries")
    assert (len(everything["attempts"]), everything["next"]) == (2, 2)
    rest = await get_report(http, "deliveries?after=1")
    assert [attempt["event_id"] for attempt in rest["attempts"]] == [sandbox.events[1]["id"]]
    assert (await get_report(http, "deliveries?after=2"))["attempts"] == []
    assert (await http("GET", "/sandbox/deliveries?after=x", key=None)).code == 400
    assert (await http("GET", "/sandbox/deliveries?before=1", key=None)).code == 400


@pytest.mark.gen_test
async def test_object_is_reported(sandbox: Sandbox, http: Http) -> None:
    product = sandbox.create_product(name="Credits")
    assert await get_report(http, f"object?object_id={product['id']}") == product
    assert (await http("GET", "/sandbox/object?object_id=prod_none", key=None)).code == 404


@pytest.mark.gen_test
async def test_control_of_unknown_object_names_it_in_error(http: Http) -> None:
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
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:9701", 200),
        ("127.0.0.1", 200),
        ("[::1]:9701", 200),
        ("rebound.example.com:9701", 421),
    ],
)
async def test_controls_reject_dns_rebinding(
    sandbox: Sandbox, http: Http, host: str, status: int
) -> None:
    for path in ("/sandbox/clock", "/sandbox/panel"):
        assert (await http("GET", path, key=None, Host=host)).code == status
    answer = await http(
        "POST", "/sandbox/api/normal", "{}", key=None, Host=host, Content_Type="application/json"
    )
    assert answer.code == status
