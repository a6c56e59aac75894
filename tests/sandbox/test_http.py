"""The API's surface: keys, forms, errors, lists, expansion."""

import asyncio
import base64
import json
import re
from typing import Any

import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox
from tests.sandbox.conftest import Http, Shop
from tests.sandbox.schemas import check_error

FORM = "application/x-www-form-urlencoded"


def error(response: Any) -> dict[str, Any]:
    body = json.loads(response.body)
    check_error(body)
    return body["error"]


@pytest.mark.gen_test
async def test_keys(sandbox: Sandbox, http: Http) -> None:
    nobody = await http("GET", "/v1/prices", key=None)
    assert (nobody.code, error(nobody)["type"]) == (401, "invalid_request_error")
    wrong = await http("GET", "/v1/prices", key="sk_test_0123456789wrong1234")
    assert wrong.code == 401
    assert "0123456789" not in error(wrong)["message"]
    basic = base64.b64encode(f"{sandbox.secret_key}:".encode()).decode()
    answer = await http("GET", "/v1/prices", key=None, Authorization=f"Basic {basic}")
    assert answer.code == 200
    assert answer.headers["Request-Id"].startswith("req_")
    broken = await http("GET", "/v1/prices", key=None, Authorization="Basic !!!")
    assert broken.code == 401


@pytest.mark.gen_test
async def test_the_publishable_key_only_sees_its_own_payment(sandbox: Sandbox, http: Http) -> None:
    intent = sandbox.call(
        "POST", "/v1/payment_intents", amount=500, currency="usd", metadata={"secret": "x"}
    )
    path = f"/v1/payment_intents/{intent['id']}"
    key = sandbox.publishable_key
    secret = intent["client_secret"]
    assert (await http("GET", "/v1/prices", key=key)).code == 401
    assert (await http("GET", path, key=key)).code == 400
    assert (await http("GET", f"{path}?client_secret=wrong", key=key)).code == 404
    seen = await http("GET", f"{path}?client_secret={secret}", key=key)
    assert seen.code == 200
    assert seen.headers["Access-Control-Allow-Origin"] == "*"
    assert not {"metadata", "customer"} & set(json.loads(seen.body))
    body = f"client_secret={secret}&payment_method_data[type]=card"
    body += "&payment_method_data[card][number]=4242424242424242"
    paid = await http("POST", f"{path}/confirm", body, key=key, Content_Type=FORM)
    assert json.loads(paid.body)["status"] == "succeeded"
    refund = await http("POST", "/v1/refunds", "a=b", key=key, Content_Type=FORM)
    assert (refund.code, error(refund)["code"]) == (401, "secret_key_required")
    preflight = await http("OPTIONS", path, key=None)
    assert preflight.code == 204
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]


def test_each_sandbox_has_random_keys() -> None:
    first, second = Sandbox(seed=1), Sandbox(seed=1)
    assert re.fullmatch(r"sk_test_[0-9a-zA-Z]{24,}", first.secret_key)
    assert re.fullmatch(r"pk_test_[0-9a-zA-Z]{24,}", first.publishable_key)
    assert first.secret_key != second.secret_key
    assert first.publishable_key != second.publishable_key


@pytest.mark.gen_test
@pytest.mark.parametrize("origin", ["https://evil.example.com", "null", "http://127.0.0.1:9700"])
async def test_secret_key_is_refused_in_a_request_of_a_web_page(
    sandbox: Sandbox, http: Http, origin: str
) -> None:
    basic = base64.b64encode(f"{sandbox.secret_key}:".encode()).decode()
    for authorization in (f"Bearer {sandbox.secret_key}", f"Basic {basic}"):
        named = {"key": None, "Authorization": authorization, "Origin": origin}
        read = await http("GET", "/v1/webhook_endpoints", **named)
        assert read.code == 403
        assert "does not accept its secret key from a web page" in error(read)["message"]
        made = await http(
            "POST", "/v1/customers", "name=x", Content_Type=FORM, Idempotency_Key="k", **named
        )
        assert made.code == 403
    assert sandbox.events == []


@pytest.mark.gen_test
async def test_publishable_key_works_in_a_request_of_a_web_page(
    sandbox: Sandbox, http: Http
) -> None:
    intent = sandbox.call("POST", "/v1/payment_intents", amount=500, currency="usd")
    path = f"/v1/payment_intents/{intent['id']}?client_secret={intent['client_secret']}"
    seen = await http("GET", path, key=sandbox.publishable_key, Origin="https://shop.example.com")
    assert seen.code == 200
    assert seen.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.gen_test
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
async def test_api_refuses_a_domain_name_that_points_to_this_machine(
    sandbox: Sandbox, http: Http, method: str
) -> None:
    path = "/v1/customers/cus_1"
    rebound = await http(method, path, key=sandbox.secret_key, Host="evil.example.com")
    assert rebound.code == 421
    assert "localhost" in error(rebound)["message"]
    for host in ("127.0.0.1:9701", "localhost:9701", "[::1]:9701"):
        assert (await http(method, path, key=sandbox.secret_key, Host=host)).code != 421


@pytest.mark.gen_test
async def test_the_publishable_key_makes_payment_methods(sandbox: Sandbox, http: Http) -> None:
    body = "type=card&card[number]=4242424242424242&card[cvc]=123&metadata[secret]=x"
    made = await http(
        "POST", "/v1/payment_methods", body, key=sandbox.publishable_key, Content_Type=FORM
    )
    assert made.code == 200
    method = json.loads(made.body)
    assert method["card"]["last4"] == "4242"
    assert "metadata" not in method
    path = f"/v1/payment_methods/{method['id']}"
    assert (await http("GET", path, key=sandbox.publishable_key)).code == 401


@pytest.mark.gen_test
async def test_errors_tell_a_browser_no_more_of_its_payment_than_answers_do(
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
    told = json.loads(declined.body)["error"]
    assert told["decline_code"] == "generic_decline"
    assert told["payment_intent"]["status"] == "requires_payment_method"
    assert "metadata" not in told["payment_intent"]


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
async def test_requests_are_refused(
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
    fault = error(response)
    assert (fault["type"], fault.get("code")) == ("invalid_request_error", code)
    assert fault.get("param") == param
    assert response.headers["Request-Id"] in fault["request_log_url"]


@pytest.mark.gen_test
async def test_a_body_that_is_no_form_is_refused(http: Http) -> None:
    response = await http("POST", "/v1/customers", '{"name": "x"}', Content_Type="application/json")
    assert (response.code, "application/json" in error(response)["message"]) == (400, True)


@pytest.mark.gen_test
async def test_versions(http: Http) -> None:
    answer = await http("GET", "/v1/prices", Stripe_Version="2025-09-30.clover")
    assert answer.headers["Stripe-Version"] == "2025-09-30.clover"
    assert (await http("GET", "/v1/prices")).headers["Stripe-Version"] == "2026-08-26.dahlia"
    assert (await http("GET", "/v1/prices", Stripe_Version="latest")).code == 400


@pytest.mark.gen_test
async def test_pages(sandbox: Sandbox, client: stripe.StripeClient) -> None:
    made = []
    for index in range(25):
        made.append(sandbox.create_customer(name=str(index))["id"])
        sandbox.clock.advance(60)
    newest_first = made[::-1]
    customers = client.v1.customers
    first = await customers.list_async()
    assert [customer.id for customer in first.data] == newest_first[:10]
    assert first.has_more
    assert [customer.id async for customer in first.auto_paging_iter()] == newest_first
    back = await customers.list_async({"ending_before": newest_first[10], "limit": 4})
    assert [customer.id for customer in back.data] == newest_first[6:10]
    assert back.has_more
    middle = sandbox.get(made[12])["created"]
    for operator, expected in (("gt", 12), ("gte", 13), ("lt", 12), ("lte", 13)):
        page = await customers.list_async({"created": {operator: middle}, "limit": 100})
        assert len(page.data) == expected, operator
    exact = await customers.list_async({"created": middle})
    assert [customer.id for customer in exact.data] == [made[12]]


@pytest.mark.gen_test
async def test_expansion(sandbox: Sandbox, client: stripe.StripeClient, shop: Shop) -> None:
    created = await client.v1.subscriptions.create_async(
        {
            "customer": shop.customer,
            "items": [{"price": shop.monthly}],
            "payment_behavior": "default_incomplete",
            "expand": [
                "items.data.price.product",
                "latest_invoice.payments",
                "latest_invoice.confirmation_secret",
                "customer",
            ],
        }
    )
    assert created["items"].data[0].price.product.name == "Monthly"
    assert created.customer.email == "ada@example.com"
    plain = sandbox.get(created.id)
    assert plain["customer"] == shop.customer
    assert plain["items"]["data"][0]["price"]["product"] == shop.plan
    invoice = await client.v1.invoices.retrieve_async(plain["latest_invoice"])
    assert invoice.confirmation_secret is None
    assert "payments" not in invoice.to_dict()
    deep = await client.v1.invoices.retrieve_async(
        plain["latest_invoice"],
        {
            "expand": [
                "payments.data.payment.payment_intent",
                "parent.subscription_details.subscription",
            ]
        },
    )
    assert deep.payments.data[0].payment.payment_intent.amount == 2900
    assert deep.parent.subscription_details.subscription.id == created.id
    listed = await client.v1.prices.list_async({"expand": ["data.product"]})
    assert {price.product.name for price in listed.data} == {"Credits", "Monthly"}


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("path", "names", "message"),
    [
        ("subscriptions", "data.items.data.price.product", "more than 4 levels"),
        ("subscriptions", "data.latest_invoice.payments.data.payment", "more than 4 levels"),
        ("prices", "product", "try expanding 'data.product'"),
        ("prices", "data.nothing", "cannot be expanded"),
        ("prices", "data.currency", "cannot be expanded"),
        ("prices", "data.currency.name", "cannot be expanded"),
    ],
)
async def test_what_cannot_be_expanded(
    http: Http, shop: Shop, path: str, names: str, message: str
) -> None:
    response = await http("GET", f"/v1/{path}?expand[]={names}")
    assert response.code == 400
    assert message in error(response)["message"]


@pytest.mark.gen_test
async def test_idempotency(sandbox: Sandbox, http: Http) -> None:
    async def create(name: str, key: str, path: str = "/v1/customers") -> Any:
        return await http("POST", path, f"name={name}", Content_Type=FORM, Idempotency_Key=key)

    first, again = await create("a", "k1"), await create("a", "k1")
    assert first.body == again.body
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Original-Request"] == first.headers["Request-Id"]
    for other in (await create("b", "k1"), await create("a", "k1", "/v1/products")):
        assert (other.code, error(other)["type"]) == (400, "idempotency_error")
    assert sandbox.events[-1]["request"] == {
        "id": first.headers["Request-Id"],
        "idempotency_key": "k1",
    }
    sandbox.clock.advance(25 * 3600)
    assert (await create("b", "k1")).code == 200, "keys are forgotten after a day"
    too_long = await create("a", "k" * 256)
    assert (too_long.code, error(too_long)["type"]) == (400, "idempotency_error")


@pytest.mark.gen_test
async def test_a_key_keeps_the_refusal_of_a_card_but_not_of_a_form(
    sandbox: Sandbox, http: Http
) -> None:
    path = "/v1/payment_intents"
    good = "amount=500&currency=usd&confirm=true&payment_method_types[]=card"

    async def pay(body: str) -> Any:
        return await http("POST", path, body, Content_Type=FORM, Idempotency_Key="k")

    assert (await pay(f"{good}&bogus=1")).code == 400
    declined = await pay(f"{good}&payment_method=pm_card_chargeDeclined")
    assert (declined.code, error(declined)["code"]) == (402, "card_declined")
    again = await pay(f"{good}&payment_method=pm_card_chargeDeclined")
    assert (again.code, again.body) == (402, declined.body)
    assert [event["type"] for event in sandbox.events].count("charge.failed") == 1


@pytest.mark.gen_test
async def test_a_key_survives_an_answer_that_cannot_be_expanded(
    sandbox: Sandbox, http: Http
) -> None:
    for _ in range(2):
        response = await http(
            "POST",
            "/v1/customers",
            "name=a&expand[]=nothing",
            Content_Type=FORM,
            Idempotency_Key="k",
        )
        assert response.code == 400
    assert len(sandbox.events) == 1


@pytest.mark.gen_test
async def test_a_key_in_use_is_refused(sandbox: Sandbox, http: Http) -> None:
    sandbox.api.delay(0.2, times=1)
    first, second = await asyncio.gather(
        *(
            http("POST", "/v1/customers", "name=a", Content_Type=FORM, Idempotency_Key="k")
            for _ in range(2)
        )
    )
    codes = {first.code: first, second.code: second}
    assert set(codes) == {200, 409}
    assert error(codes[409])["code"] == "idempotency_key_in_use"


@pytest.mark.gen_test
async def test_a_fault_of_its_own_is_a_500_in_stripes_form(
    sandbox: Sandbox, http: Http, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_args: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(sandbox.dispatcher, "run", broken)
    response = await http("GET", "/v1/prices")
    assert (response.code, error(response)["type"]) == (500, "api_error")
    assert "ZeroDivisionError" in caplog.text
