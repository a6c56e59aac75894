"""The client translates refusals and outages of Stripe, and returns plain data."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import pytest
import stripe
from tornado.ioloop import IOLoop

from datalayer_stripe.billing.metadata import customer_metadata
from datalayer_stripe.errors import (
    CardDeclined,
    Conflict,
    InvalidRequest,
    RateLimited,
    RequestError,
    StripeNoResponse,
    StripeObjectMissing,
    StripePermissionMissing,
    StripeUnavailable,
)
from datalayer_stripe.metrics import Metrics
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.stripe_api import transport
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
    """Create and confirm a PaymentIntent in one call, as the service never does."""
    wanted: Any = {
        "amount": 500,
        "currency": "usd",
        "confirm": True,
        "payment_method": "pm_card_visa",
        "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
        **params,
    }
    return await client.transport.call("pay", client.sdk.v1.payment_intents.create_async(wanted))


@pytest.mark.parametrize(
    ("params", "refusal", "message"),
    [
        ({"payment_method": "pm_card_chargeDeclined"}, CardDeclined, "Your card was declined."),
        ({"amount": 10}, InvalidRequest, "at least"),
        ({"currency": "dollars"}, InvalidRequest, "Invalid currency"),
        ({"customer": "cus_unknown"}, StripeObjectMissing, "No such customer"),
    ],
)
@pytest.mark.gen_test
async def test_refusal_keeps_stripes_message(
    client: StripeClient, params: dict[str, Any], refusal: type[RequestError], message: str
) -> None:
    with pytest.raises(refusal, match=message):
        await pay(client, **params)


OUTAGES: dict[str, Callable[[Sandbox, int], None]] = {
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


@pytest.mark.parametrize("name", OUTAGES)
@pytest.mark.gen_test
async def test_call_is_retried_with_the_same_key_during_a_short_outage(
    client: StripeClient, sandbox: Sandbox, name: str
) -> None:
    await client.create_customer(**ADA)
    OUTAGES[name](sandbox, 2)
    await create_intent(client)
    assert len(objects(sandbox, INTENTS)) == 1
    tried = [call for call in sandbox.api.calls if call.path == INTENTS]
    assert {call.idempotency_key for call in tried} <= {"key-1"}


@pytest.mark.parametrize("name", OUTAGES)
@pytest.mark.gen_test
async def test_client_raises_stripe_unavailable_during_a_long_outage(
    client: StripeClient, sandbox: Sandbox, name: str
) -> None:
    OUTAGES[name](sandbox, 100)
    with pytest.raises(StripeUnavailable):
        await client.retrieve_price("price_1")
    assert len(sandbox.api.calls) >= 3, "the first attempt and two retries"


@pytest.mark.gen_test  # shorter than the timeout of one attempt
async def test_call_times_out(
    client: StripeClient, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "CALL_TIMEOUT_SECONDS", 0.05)
    sandbox.api.delay(60)
    with pytest.raises(StripeUnavailable):
        await client.retrieve_price("price_1")


@pytest.mark.gen_test
async def test_client_raises_rate_limited_when_stripe_answers_429(
    client: StripeClient, sandbox: Sandbox
) -> None:
    sandbox.api.refuse(429, times=1)
    with pytest.raises(RateLimited) as refusal:
        await client.retrieve_price("price_1")
    assert refusal.value.retry_after


def is_error(result: object) -> bool:
    return isinstance(result, Exception)


@pytest.mark.gen_test
async def test_idempotency_key_in_use_is_distinguished_from_key_of_another_request(
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
async def test_client_raises_stripe_unavailable_when_nothing_listens(
    io_loop: IOLoop, quick_retries: None
) -> None:
    client = StripeClient("sk_test_example", metrics=Metrics(), api_base="http://127.0.0.1:9")
    with pytest.raises(StripeUnavailable):
        await client.retrieve_price("price_1")
    await client.close()


@pytest.mark.gen_test
async def test_wrong_secret_key_is_logged_for_the_operator(
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
    ("error", "translated"),
    [
        (stripe.PermissionError("no", http_status=403), StripePermissionMissing),
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
async def test_error_of_the_sdk_is_translated(
    client: StripeClient, error: Exception, translated: type[RequestError]
) -> None:
    async def fails() -> stripe.StripeObject:
        raise error

    with pytest.raises(translated) as refusal:
        await client.transport.call("x", fails())
    assert type(refusal.value) is translated
    assert refusal.value.__cause__ is error
    if translated is RateLimited:
        assert refusal.value.retry_after == (7 if "7" in str(error.headers) else 2)  # type: ignore[attr-defined]


@pytest.mark.gen_test
async def test_list_contains_all_pages(client: StripeClient, sandbox: Sandbox, shop: Shop) -> None:
    for amount in range(100, 205):
        sandbox.create_price(product=shop.topup_product, unit_amount=amount, credits=1)
    listed = await client.list_prices(shop.topup_product, recurring=False)
    assert len({price["id"] for price in listed}) == 108
    assert {price["product"]["id"] for price in listed} == {shop.topup_product}
    assert calls(sandbox, "GET", "/v1/prices") == 2


@pytest.mark.gen_test
async def test_results_are_plain_data(client: StripeClient, sandbox: Sandbox, shop: Shop) -> None:
    price = await client.retrieve_price(shop.plan)
    assert type(price) is dict
    assert type(price["product"]) is dict
    assert type(price["recurring"]) is dict
    [listed] = await client.list_prices(shop.plan_product, recurring=True)
    assert type(listed["product"]) is dict


@pytest.mark.gen_test
async def test_close_closes_the_session_and_creates_none_without_calls(
    monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox, shop: Shop
) -> None:
    create, sessions = aiohttp.ClientSession, []

    def note(**options: Any) -> aiohttp.ClientSession:
        sessions.append(create(**options))
        return sessions[-1]

    monkeypatch.setattr(aiohttp, "ClientSession", note)
    unused = StripeClient(sandbox.secret_key, metrics=Metrics(), api_base=sandbox.url)
    await unused.close()
    assert sessions == []
    client = StripeClient(sandbox.secret_key, metrics=Metrics(), api_base=sandbox.url)
    await client.list_prices(shop.plan_product, recurring=True)
    await client.close()
    assert [session.closed for session in sessions] == [True]
