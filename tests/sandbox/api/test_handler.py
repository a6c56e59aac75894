"""API keys, request validation, API versions and internal errors."""

import base64
import json
from typing import Any

import pytest

from datalayer_stripe.sandbox import Sandbox
from tests.sandbox.conftest import FORM, Http, error_of


@pytest.mark.gen_test
async def test_api_key_is_required_and_checked(sandbox: Sandbox, http: Http) -> None:
    without_key = await http("GET", "/v1/prices", key=None)
    assert (without_key.code, error_of(without_key)["type"]) == (401, "invalid_request_error")
    wrong = await http("GET", "/v1/prices", key="sk_test_0123456789wrong1234")
    assert wrong.code == 401
    assert "0123456789" not in error_of(wrong)["message"]
    basic = base64.b64encode(f"{sandbox.secret_key}:".encode()).decode()
    answer = await http("GET", "/v1/prices", key=None, Authorization=f"Basic {basic}")
    assert answer.code == 200
    assert answer.headers["Request-Id"].startswith("req_")
    broken = await http("GET", "/v1/prices", key=None, Authorization="Basic !!!")
    assert broken.code == 401


@pytest.mark.gen_test
async def test_publishable_key_reads_only_intent_of_its_client_secret(
    sandbox: Sandbox, http: Http
) -> None:
    intent = sandbox.call(
        "POST", "/v1/payment_intents", amount=500, currency="usd", metadata={"secret": "x"}
    )
    path = f"/v1/payment_intents/{intent['id']}"
    key = sandbox.publishable_key
    secret = intent["client_secret"]
    assert (await http("GET", "/v1/prices", key=key)).code == 401
    assert (await http("GET", path, key=key)).code == 400
    assert (await http("GET", f"{path}?client_secret=wrong", key=key)).code == 404
    retrieved = await http("GET", f"{path}?client_secret={secret}", key=key)
    assert retrieved.code == 200
    assert retrieved.headers["Access-Control-Allow-Origin"] == "*"
    assert not {"metadata", "customer"} & set(json.loads(retrieved.body))
    body = f"client_secret={secret}&payment_method_data[type]=card"
    body += "&payment_method_data[card][number]=4242424242424242"
    paid = await http("POST", f"{path}/confirm", body, key=key, Content_Type=FORM)
    assert json.loads(paid.body)["status"] == "succeeded"
    refund = await http("POST", "/v1/refunds", "a=b", key=key, Content_Type=FORM)
    assert (refund.code, error_of(refund)["code"]) == (401, "secret_key_required")
    preflight = await http("OPTIONS", path, key=None)
    assert preflight.code == 204
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]


@pytest.mark.gen_test
@pytest.mark.parametrize("origin", ["https://evil.example.com", "null", "http://127.0.0.1:9700"])
async def test_secret_key_is_rejected_in_request_from_web_page(
    sandbox: Sandbox, http: Http, origin: str
) -> None:
    basic = base64.b64encode(f"{sandbox.secret_key}:".encode()).decode()
    for authorization in (f"Bearer {sandbox.secret_key}", f"Basic {basic}"):
        headers = {"key": None, "Authorization": authorization, "Origin": origin}
        listed = await http("GET", "/v1/webhook_endpoints", **headers)
        assert listed.code == 403
        assert "does not accept its secret key from a web page" in error_of(listed)["message"]
        created = await http(
            "POST", "/v1/customers", "name=x", Content_Type=FORM, Idempotency_Key="k", **headers
        )
        assert created.code == 403
    assert sandbox.events == []


@pytest.mark.gen_test
async def test_publishable_key_is_accepted_in_request_from_web_page(
    sandbox: Sandbox, http: Http
) -> None:
    intent = sandbox.call("POST", "/v1/payment_intents", amount=500, currency="usd")
    path = f"/v1/payment_intents/{intent['id']}?client_secret={intent['client_secret']}"
    retrieved = await http(
        "GET", path, key=sandbox.publishable_key, Origin="https://shop.example.com"
    )
    assert retrieved.code == 200
    assert retrieved.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.gen_test
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
async def test_api_rejects_domain_name_that_resolves_to_this_machine(
    sandbox: Sandbox, http: Http, method: str
) -> None:
    path = "/v1/customers/cus_1"
    rejected = await http(method, path, key=sandbox.secret_key, Host="evil.example.com")
    assert rejected.code == 421
    assert "localhost" in error_of(rejected)["message"]
    for host in ("127.0.0.1:9701", "localhost:9701", "[::1]:9701"):
        assert (await http(method, path, key=sandbox.secret_key, Host=host)).code != 421


@pytest.mark.gen_test
async def test_publishable_key_creates_payment_methods(sandbox: Sandbox, http: Http) -> None:
    body = "type=card&card[number]=4242424242424242&card[cvc]=123&metadata[secret]=x"
    created = await http(
        "POST", "/v1/payment_methods", body, key=sandbox.publishable_key, Content_Type=FORM
    )
    assert created.code == 200
    method = json.loads(created.body)
    assert method["card"]["last4"] == "4242"
    assert "metadata" not in method
    path = f"/v1/payment_methods/{method['id']}"
    assert (await http("GET", path, key=sandbox.publishable_key)).code == 401


@pytest.mark.gen_test
async def test_error_for_publishable_key_has_only_public_fields(
    sandbox: Sandbox, http: Http
) -> None:
    intent = sandbox.call(
        "POST", "/v1/payment_intents", amount=500, currency="usd", metadata={"secret": "x"}
    )
    secret = intent["client_secret"]
    body = f"client_secret={secret}&payment_method=pm_card_chargeDeclined"
    path = f"/v1/payment_intents/{intent['id']}/confirm"
    declined = await http("POST", path, body, key=sandbox.publishable_key, Content_Type=FORM)
    assert declined.code == 402
    error = json.loads(declined.body)["error"]
    assert error["decline_code"] == "generic_decline"
    assert error["payment_intent"]["status"] == "requires_payment_method"
    assert "metadata" not in error["payment_intent"]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "param"),
    [
        ("POST", "/v1/prices", "currency=usd&unit_amount=1", 400, "parameter_missing", "product"),
        ("POST", "/v1/customers", "emial=x", 400, "parameter_unknown", "emial"),
        ("POST", "/v1/customers", "address[town]=x", 400, "parameter_unknown", "address[town]"),
        ("POST", "/v1/products", "name=", 400, "parameter_invalid_empty", "name"),
        (
            "POST",
            "/v1/payment_intents",
            "amount=x&currency=usd",
            400,
            "parameter_invalid_integer",
            "amount",
        ),
        (
            "POST",
            "/v1/payment_intents",
            "amount=-1&currency=usd",
            400,
            "parameter_invalid_integer",
            "amount",
        ),
        ("POST", "/v1/payment_intents", "amount=500&currency=u", 400, None, "currency"),
        ("POST", "/v1/products", "name=a&active=maybe", 400, None, "active"),
        ("POST", "/v1/customers", "address=x", 400, None, "address"),
        ("POST", "/v1/customers", "metadata=x", 400, None, "metadata"),
        ("POST", "/v1/customers", f"metadata[{'k' * 41}]=x", 400, None, f"metadata[{'k' * 41}]"),
        ("POST", "/v1/customers", f"name={'n' * 5001}", 400, None, "name"),
        ("POST", "/v1/customers", "name[=x", 400, None, "name["),
        ("POST", "/v1/customers", "name=x&name[a]=y", 400, None, "name[a]"),
        ("GET", "/v1/prices/price_none", None, 404, "resource_missing", "id"),
        ("GET", "/v1/prices?product=", None, 200, None, None),
        ("GET", "/v1/prices?limit=101", None, 400, None, "limit"),
        ("GET", "/v1/prices?limit=0", None, 400, None, "limit"),
        ("GET", "/v1/prices?starting_after=x", None, 400, "resource_missing", "starting_after"),
        ("GET", "/v1/prices?type=x", None, 400, None, "type"),
        ("GET", "/v1/nothing", None, 404, None, None),
        ("DELETE", "/v1/prices/price_none", None, 404, None, None),
        ("GET", "/v1/payment_methods", None, 400, "parameter_missing", "customer"),
        ("GET", "/v1/events?type=a&types[]=b", None, 400, None, "type"),
    ],
)
async def test_invalid_request_is_rejected(
    http: Http,
    method: str,
    path: str,
    body: str | None,
    status: int,
    code: str | None,
    param: str | None,
) -> None:
    response = await http(method, path, body, Content_Type=FORM)
    assert response.code == status
    if status == 200:
        return
    fault = error_of(response)
    assert (fault["type"], fault.get("code")) == ("invalid_request_error", code)
    assert fault.get("param") == param
    assert response.headers["Request-Id"] in fault["request_log_url"]


@pytest.mark.gen_test
async def test_body_that_is_not_a_form_is_rejected(http: Http) -> None:
    response = await http("POST", "/v1/customers", '{"name": "x"}', Content_Type="application/json")
    assert (response.code, "application/json" in error_of(response)["message"]) == (400, True)


@pytest.mark.gen_test
async def test_answer_has_requested_api_version(http: Http) -> None:
    answer = await http("GET", "/v1/prices", Stripe_Version="2025-09-30.clover")
    assert answer.headers["Stripe-Version"] == "2025-09-30.clover"
    assert (await http("GET", "/v1/prices")).headers["Stripe-Version"] == "2026-10-28.endive"
    assert (await http("GET", "/v1/prices", Stripe_Version="latest")).code == 400


@pytest.mark.gen_test
async def test_internal_error_is_answered_as_stripe_api_error(
    sandbox: Sandbox, http: Http, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_args: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(sandbox.dispatcher, "run", broken)
    response = await http("GET", "/v1/prices")
    assert (response.code, error_of(response)["type"]) == (500, "api_error")
    assert "ZeroDivisionError" in caplog.text
