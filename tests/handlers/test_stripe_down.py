"""Responses of the routes and of the webhook when Stripe is busy, down, or refuses a request."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from tornado.httpclient import HTTPResponse

from datalayer_stripe.errors import CardDeclined
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import json_of
from tests.support.shop import IAM_ROUTES, Buyer, Shop, rows


async def call_each_route(buyer: Buyer) -> AsyncIterator[HTTPResponse]:
    yield await buyer.ask_to_buy()
    yield await buyer.ask_to_subscribe()
    yield await buyer.api.post(f"{IAM_ROUTES}/subscription/cancel")
    yield await buyer.api.post(f"{IAM_ROUTES}/subscription/resume")
    portal = {"return_url": "https://app.example.com/"}
    yield await buyer.api.post(f"{IAM_ROUTES}/checkout/portal", portal)


@pytest.mark.parametrize(
    ("status", "answered", "code"),
    [(429, 429, "rate_limited"), (500, 503, "stripe_unavailable")],
)
@pytest.mark.gen_test
async def test_routes_answer_429_or_503_when_stripe_is_busy_or_down(
    buyer: Buyer,
    service: Service,
    sandbox: Sandbox,
    webhooks: Webhooks,
    quick_retries: None,
    status: int,
    answered: int,
    code: str,
) -> None:
    await buyer.subscribe()
    sandbox.api.refuse(status, times=1000)
    service.catalog.clear_cache()
    async for answer in call_each_route(buyer):
        assert (answer.code, json_of(answer)["code"]) == (answered, code)
        assert int(answer.headers["Retry-After"]) > 0
    sandbox.api.normal()
    assert (await buyer.ask_to_buy()).code == 201


@pytest.mark.gen_test
async def test_webhook_defers_an_event_while_stripe_is_busy(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service, quick_retries: None
) -> None:
    subscription_id = await buyer.subscribe()
    webhooks.attempts.clear()
    sandbox.api.refuse(429, times=3, path_prefix="/v1/subscriptions/")
    sandbox.cancel_subscription(subscription_id)
    await webhooks.settle()
    assert {attempt.status for attempt in webhooks.attempts} == {200}
    jobs = await rows(service, "jobs")
    assert [job["plugin"] for job in jobs] == ["subscription-deleted"]


@pytest.mark.gen_test
async def test_webhook_answers_503_while_stripe_is_down_and_is_delivered_again(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, quick_retries: None
) -> None:
    subscription_id = await buyer.subscribe()
    webhooks.attempts.clear()
    sandbox.api.refuse(500, times=3, path_prefix="/v1/subscriptions/")
    sandbox.cancel_subscription(subscription_id)
    await webhooks.settle()
    statuses = [attempt.status for attempt in webhooks.attempts]
    assert statuses[0] == 503
    assert statuses[-1] == 200
    assert (await buyer.plan())["status"] == "canceled"


@pytest.mark.gen_test
async def test_request_refused_by_stripe_is_400_with_its_message(
    buyer: Buyer, sandbox: Sandbox, shop: Shop, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    tiny = sandbox.create_price(product=shop.topup_product, unit_amount=1, credits=1)["id"]
    answer = await buyer.ask_to_buy(tiny)
    assert (answer.code, json_of(answer)["code"]) == (400, "invalid_request")
    assert "at least" in json_of(answer)["message"]


@pytest.mark.gen_test
async def test_card_refused_by_stripe_is_402_with_its_message(
    buyer: Buyer, service: Service, webhooks: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    await buyer.subscribe()

    async def refuse(**_: Any) -> dict[str, Any]:
        raise CardDeclined("Your card was declined.")

    monkeypatch.setattr(service.stripe, "create_payment_intent", refuse)
    answer = await buyer.ask_to_buy()
    assert (answer.code, json_of(answer)["code"]) == (402, "card_error")
    assert json_of(answer)["message"] == "Your card was declined."


@pytest.mark.gen_test
async def test_rejected_stripe_key_is_503_and_logged_without_the_key(
    buyer: Buyer,
    sandbox: Sandbox,
    webhooks: Webhooks,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await buyer.subscribe()
    monkeypatch.setattr(sandbox.dispatcher, "secret_key", "sk_test_rolled")
    answer = await buyer.ask_to_buy()
    assert (answer.code, json_of(answer)["code"]) == (503, "stripe_unavailable")
    assert "DATALAYER_STRIPE_API_KEY" in caplog.text
    assert "sk_test" not in caplog.text + str(answer.body)


@pytest.mark.gen_test
async def test_every_write_to_stripe_has_its_own_idempotency_key(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    await buyer.buy()
    async for _ in call_each_route(buyer):
        pass
    await buyer.api.post("/api/iam/stripe/v1/subscription/resume/setup-intent")
    writes = [call for call in sandbox.api.calls if call.method == "POST"]
    assert len({call.path for call in writes}) == 6
    assert all(call.idempotency_key for call in writes)
    assert len({call.idempotency_key for call in writes}) == len(writes)
