"""Stripe's troubles and refusals, and what becomes of them on our side."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import pytest
import stripe
from tornado.ioloop import IOLoop

from datalayer_stripe.billing.metadata import customer_metadata
from datalayer_stripe.errors import (
    CardRefused,
    Conflict,
    InvalidRequest,
    RateLimited,
    RequestError,
    StripeNoResponse,
    StripeObjectMissing,
    StripeUnavailable,
)
from datalayer_stripe.metrics import Metrics
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.stripe_api import client as stripe_client
from datalayer_stripe.stripe_api.client import StripeClient
from tests.support.app import ACCOUNT
from tests.support.shop import Shop, calls, objects

INTENTS = "/v1/payment_intents"


@pytest.fixture
def client(io_loop: IOLoop, sandbox: Sandbox, quick_retries: None) -> Iterator[StripeClient]:
    client = StripeClient(sandbox.secret_key, metrics=Metrics(), api_base=sandbox.url)
    yield client
    io_loop.run_sync(client.close)


async def pay(client: StripeClient, **params: Any) -> dict[str, Any]:
    """A PaymentIntent that is confirmed at once, which only a test makes."""
    wanted: Any = {
        "amount": 500,
        "currency": "usd",
        "confirm": True,
        "payment_method": "pm_card_visa",
        "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
        **params,
    }
    return await client._call("pay", client._v1.payment_intents.create_async(wanted))


@pytest.mark.parametrize(
    ("params", "refusal", "message"),
    [
        ({"payment_method": "pm_card_chargeDeclined"}, CardRefused, "Your card was declined."),
        ({"amount": 10}, InvalidRequest, "at least"),
        ({"currency": "dollars"}, InvalidRequest, "Invalid currency"),
        ({"customer": "cus_unknown"}, StripeObjectMissing, "No such customer"),
    ],
)
@pytest.mark.gen_test
async def test_a_refusal_keeps_stripes_own_words(
    client: StripeClient, params: dict[str, Any], refusal: type[RequestError], message: str
) -> None:
    with pytest.raises(refusal, match=message):
        await pay(client, **params)


TROUBLES: dict[str, Callable[[Sandbox, int], None]] = {
    "500": lambda sandbox, times: sandbox.api.refuse(500, times),
    "503": lambda sandbox, times: sandbox.api.refuse(503, times),
    "cut before": lambda sandbox, times: sandbox.api.cut(times),
    "cut after": lambda sandbox, times: sandbox.api.cut(times, cut_after=True),
}


async def create_intent(client: StripeClient, key: str = "key-1", **params: Any) -> dict[str, Any]:
    wanted: dict[str, Any] = {
        "amount": 500,
        "currency": "usd",
        "customer_id": (await client.create_customer(**ADA))["id"],
        "description": "50 credits",
        "metadata": {"account_uid": ACCOUNT},
        **params,
    }
    return await client.create_payment_intent(**wanted, idempotency_key=key)


ADA: dict[str, Any] = {
    "metadata": customer_metadata(ACCOUNT),
    "email": "ada@example.com",
    "name": "Ada",
    "idempotency_key": "customer-1",
}


@pytest.mark.parametrize("name", TROUBLES)
@pytest.mark.gen_test
async def test_a_short_trouble_is_gone_at_the_next_try_and_nothing_is_doubled(
    client: StripeClient, sandbox: Sandbox, name: str
) -> None:
    await client.create_customer(**ADA)
    TROUBLES[name](sandbox, 2)
    await create_intent(client)
    assert len(objects(sandbox, INTENTS)) == 1
    tried = [call for call in sandbox.api.calls if call.path == INTENTS]
    assert {call.idempotency_key for call in tried} <= {"key-1"}


@pytest.mark.parametrize("name", TROUBLES)
@pytest.mark.gen_test
async def test_a_longer_trouble_is_unavailability(
    client: StripeClient, sandbox: Sandbox, name: str
) -> None:
    TROUBLES[name](sandbox, 100)
    with pytest.raises(StripeUnavailable):
        await client.retrieve_price("price_1")
    assert len(sandbox.api.calls) >= 3, "the first try and two more"


@pytest.mark.gen_test  # below the bound of a single try
async def test_a_call_is_bounded_in_time(
    client: StripeClient, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stripe_client, "_TOTAL_SECONDS", 0.05)
    sandbox.api.delay(60)
    with pytest.raises(StripeUnavailable):
        await client.retrieve_price("price_1")


@pytest.mark.gen_test
async def test_too_many_requests_are_told_as_such(client: StripeClient, sandbox: Sandbox) -> None:
    sandbox.api.refuse(429, times=1)
    with pytest.raises(RateLimited) as refusal:
        await client.retrieve_price("price_1")
    assert refusal.value.retry_after


def is_error(result: object) -> bool:
    return isinstance(result, Exception)


@pytest.mark.gen_test
async def test_a_key_that_is_in_use_is_not_a_key_of_another_request(
    client: StripeClient, sandbox: Sandbox
) -> None:
    sandbox.api.delay(0.3, times=1, path_prefix="/v1/customers")
    twice = (client.create_customer(**ADA) for _ in range(2))
    made, refusal = sorted(await asyncio.gather(*twice, return_exceptions=True), key=is_error)
    assert made["metadata"] == {"account_uid": ACCOUNT, "made_by": "datalayer-stripe"}
    assert isinstance(refusal, Conflict)
    assert "still being worked on" in refusal.message
    with pytest.raises(Conflict, match="used for another request"):
        await client.create_customer(**{**ADA, "name": "Another"})


@pytest.mark.gen_test
async def test_nobody_listens(io_loop: IOLoop, quick_retries: None) -> None:
    client = StripeClient("sk_test_example", metrics=Metrics(), api_base="http://127.0.0.1:9")
    with pytest.raises(StripeUnavailable):
        await client.retrieve_price("price_1")
    await client.close()


@pytest.mark.gen_test
async def test_a_wrong_key_is_the_operators_business(
    io_loop: IOLoop, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    client = StripeClient("sk_test_of_another", metrics=Metrics(), api_base=sandbox.url)
    with pytest.raises(StripeUnavailable) as refusal:
        await client.retrieve_price("price_1")
    await client.close()
    assert "API" not in refusal.value.message
    [line] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "DATALAYER_STRIPE_API_KEY" in line.getMessage()
    assert "sk_test" not in caplog.text


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (stripe.PermissionError("no", http_status=403), StripeUnavailable),
        (stripe.APIError("odd", http_status=418), StripeUnavailable),
        (stripe.APIConnectionError("down"), StripeNoResponse),
        (TimeoutError(), StripeNoResponse),
        (aiohttp.ClientPayloadError("half an answer"), StripeNoResponse),
        (stripe.RateLimitError("slow", headers={"retry-after": "7"}), RateLimited),
        (stripe.RateLimitError("slow", headers={"retry-after": "soon"}), RateLimited),
        (stripe.RateLimitError("slow", headers={"retry-after": "²"}), RateLimited),
    ],
)
@pytest.mark.gen_test
async def test_each_error_has_its_counterpart(
    client: StripeClient, error: Exception, ours: type[RequestError]
) -> None:
    async def fails() -> None:
        raise error

    with pytest.raises(ours) as refusal:
        await client._timed("x", fails())
    assert type(refusal.value) is ours
    assert refusal.value.__cause__ is error
    if ours is RateLimited:
        assert refusal.value.retry_after == (7 if "7" in str(error.headers) else 2)  # type: ignore[attr-defined]


@pytest.mark.gen_test
async def test_lists_are_read_to_their_end(
    client: StripeClient, sandbox: Sandbox, shop: Shop
) -> None:
    for amount in range(100, 205):
        sandbox.create_price(product=shop.topup_product, unit_amount=amount, credits=1)
    listed = await client.list_prices(shop.topup_product, recurring=False)
    assert len({price["id"] for price in listed}) == 108
    assert {price["product"]["id"] for price in listed} == {shop.topup_product}
    assert calls(sandbox, "GET", "/v1/prices") == 2


@pytest.mark.gen_test
async def test_answers_are_plain_data(client: StripeClient, sandbox: Sandbox, shop: Shop) -> None:
    price = await client.retrieve_price(shop.plan)
    assert type(price) is dict
    assert type(price["product"]) is dict
    assert type(price["recurring"]) is dict
    [listed] = await client.list_prices(shop.plan_product, recurring=True)
    assert type(listed["product"]) is dict
