"""Idempotency keys."""

import asyncio
from typing import Any

import pytest

from datalayer_stripe.sandbox import Sandbox
from tests.sandbox.conftest import FORM, Http, error_of


@pytest.mark.gen_test
async def test_repeated_request_with_same_key_is_executed_once(
    sandbox: Sandbox, http: Http
) -> None:
    async def create(name: str, key: str, path: str = "/v1/customers") -> Any:
        return await http("POST", path, f"name={name}", Content_Type=FORM, Idempotency_Key=key)

    first, again = await create("a", "k1"), await create("a", "k1")
    assert first.body == again.body
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Original-Request"] == first.headers["Request-Id"]
    for other in (await create("b", "k1"), await create("a", "k1", "/v1/products")):
        assert (other.code, error_of(other)["type"]) == (400, "idempotency_error")
    assert sandbox.events[-1]["request"] == {
        "id": first.headers["Request-Id"],
        "idempotency_key": "k1",
    }
    sandbox.clock.advance(25 * 3600)
    assert (await create("b", "k1")).code == 200, "keys expire after a day"
    too_long = await create("a", "k" * 256)
    assert (too_long.code, error_of(too_long)["type"]) == (400, "idempotency_error")


@pytest.mark.gen_test
async def test_key_stores_declined_card_but_not_invalid_request(
    sandbox: Sandbox, http: Http
) -> None:
    path = "/v1/payment_intents"
    good = "amount=500&currency=usd&confirm=true&payment_method_types[]=card"

    async def pay(body: str) -> Any:
        return await http("POST", path, body, Content_Type=FORM, Idempotency_Key="k")

    assert (await pay(f"{good}&bogus=1")).code == 400
    declined = await pay(f"{good}&payment_method=pm_card_chargeDeclined")
    assert (declined.code, error_of(declined)["code"]) == (402, "card_declined")
    again = await pay(f"{good}&payment_method=pm_card_chargeDeclined")
    assert (again.code, again.body) == (402, declined.body)
    assert [event["type"] for event in sandbox.events].count("charge.failed") == 1


@pytest.mark.gen_test
async def test_retry_does_not_repeat_request_whose_answer_cannot_be_expanded(
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
async def test_key_of_running_request_is_rejected(sandbox: Sandbox, http: Http) -> None:
    sandbox.api.delay(0.2, times=1)
    first, second = await asyncio.gather(
        *(
            http("POST", "/v1/customers", "name=a", Content_Type=FORM, Idempotency_Key="k")
            for _ in range(2)
        )
    )
    codes = {first.code: first, second.code: second}
    assert set(codes) == {200, 409}
    assert error_of(codes[409])["code"] == "idempotency_key_in_use"
