"""Pages of the history, and receipts from Stripe."""

import asyncio
import base64
from datetime import timedelta
from typing import Any

import pytest

from datalayer_stripe.billing import history
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import ACCOUNT, Api, Clock, json_of
from tests.support.shop import OTHER_ACCOUNT, STRIPE_ROUTES, Buyer, calls, rows

HISTORY = f"{STRIPE_ROUTES}/topup/history"


async def page(api: Api, query: str = "", account: str = ACCOUNT) -> dict[str, Any]:
    answer = await api.get(f"{HISTORY}{query}", account)
    assert answer.code == 200, answer.body
    return json_of(answer)


async def put_rows(service: Service, clock: Clock, number: int, account: str = ACCOUNT) -> None:
    """Insert rows, three with the same time, as deliveries that share a commit do."""
    await service.store._database.ledger.insert_many(
        {
            "_id": f"pi_{account[-4:]}{index:03}",
            "account_uid": account,
            "kind": "top-up",
            "credits": index + 1,
            "amount": 500,
            "currency": "usd",
            "price_id": "price_1",
            "event_id": f"evt_{index}",
            "created_at": clock() - timedelta(days=1) + timedelta(seconds=index // 3),
            "receipt_url": None,
        }
        for index in range(number)
    )


@pytest.mark.gen_test
async def test_history_of_a_new_account_is_empty(api: Api) -> None:
    assert await page(api) == {"success": True, "history": [], "next_cursor": None}


@pytest.mark.gen_test
async def test_history_shows_a_top_up_with_its_receipt(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    bought = await buyer.buy()
    [movement] = (await page(buyer.api))["history"]
    receipt_url = sandbox.get(bought["latest_charge"])["receipt_url"]
    assert movement.pop("created_at").endswith("Z")
    assert movement == {
        "id": bought["id"],
        "kind": "top-up",
        "credits": 50,
        "amount": 500,
        "currency": "usd",
        "price_id": buyer.shop.packages[0],
        "receipt_url": receipt_url,
        "reverses": None,
    }
    assert receipt_url

    calls_before = len(sandbox.api.calls)
    assert (await page(buyer.api))["history"][0]["receipt_url"] == receipt_url
    assert len(sandbox.api.calls) == calls_before, "the receipt is fetched once"


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_fetching_a_receipt_moves_no_credits(
    buyer: Buyer, webhooks: Webhooks, service: Service
) -> None:
    await buyer.subscribe()
    bought = await buyer.buy()
    before = await rows(service, "ledger")
    await page(buyer.api)
    after = await rows(service, "ledger")
    assert after == [{**before[0], "receipt_url": after[0]["receipt_url"]}]
    event = next(one.event_id for one in webhooks.attempts if "payment_intent" in one.type)
    await webhooks.deliver(event)
    assert await buyer.credits() == 50, bought


@pytest.mark.gen_test
async def test_history_is_shown_without_receipts_while_stripe_is_down(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, quick_retries: None
) -> None:
    await buyer.subscribe()
    bought = await buyer.buy()
    sandbox.api.refuse(status=500, times=100, path_prefix="/v1/")
    [movement] = (await page(buyer.api))["history"]
    assert (movement["id"], movement["receipt_url"]) == (bought["id"], None)
    sandbox.api.normal()
    [movement] = (await page(buyer.api))["history"]
    assert movement["receipt_url"], "it is fetched with the next request"


@pytest.mark.gen_test
async def test_history_does_not_wait_for_receipts_while_stripe_hangs(
    api: Api,
    sandbox: Sandbox,
    service: Service,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(history, "_RECEIPT_TIMEOUT_SECONDS", 0.2)
    await put_rows(service, clock, 20)
    await service.store._database.ledger.update_many({}, {"$unset": {"receipt_url": ""}})
    sandbox.api.delay(30)
    async with asyncio.timeout(20):
        shown = (await page(api))["history"]
    assert [one["receipt_url"] for one in shown] == [None] * 20
    sandbox.api.normal()


@pytest.mark.gen_test
async def test_receipt_of_a_payment_that_stripe_does_not_have_is_fetched_once(
    buyer: Buyer, sandbox: Sandbox, service: Service, clock: Clock
) -> None:
    await put_rows(service, clock, 1)
    await service.store._database.ledger.update_many({}, {"$unset": {"receipt_url": ""}})
    for _ in range(2):
        [movement] = (await page(buyer.api))["history"]
        assert movement["receipt_url"] is None
    assert calls(sandbox, "GET", f"/v1/payment_intents/{movement['id']}") == 1


@pytest.mark.mongod
@pytest.mark.parametrize("limit", [1, 2, 3, 4, 7, 20, 100])
@pytest.mark.gen_test
async def test_pages_contain_all_rows_newest_first(
    api: Api, service: Service, clock: Clock, limit: int
) -> None:
    await put_rows(service, clock, 20)
    await put_rows(service, clock, 5, OTHER_ACCOUNT)
    shown: list[dict[str, Any]] = []
    query = f"?limit={limit}"
    while True:
        got = await page(api, query)
        shown += got["history"]
        if got["next_cursor"] is None:
            break
        assert len(got["history"]) == limit
        query = f"?limit={limit}&cursor={got['next_cursor']}"
    assert [one["credits"] for one in shown] == list(range(20, 0, -1))


@pytest.mark.gen_test
async def test_new_row_does_not_move_the_next_page(
    api: Api, service: Service, clock: Clock
) -> None:
    await put_rows(service, clock, 6)
    first = await page(api, "?limit=3")
    await service.store._database.ledger.insert_one(
        {**(await rows(service, "ledger"))[0], "_id": "pi_new", "created_at": clock()}
    )
    second = await page(api, f"?limit=3&cursor={first['next_cursor']}")
    assert [one["credits"] for one in first["history"] + second["history"]] == [6, 5, 4, 3, 2, 1]


@pytest.mark.gen_test
async def test_history_of_another_account_is_not_shown(
    api: Api, service: Service, clock: Clock
) -> None:
    await put_rows(service, clock, 6, OTHER_ACCOUNT)
    theirs = await page(api, "?limit=3", OTHER_ACCOUNT)
    assert (await page(api))["history"] == []
    assert (await page(api, f"?cursor={theirs['next_cursor']}"))["history"] == []
    assert (await api.get(HISTORY, None)).code == 401


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?limit=0", "limit"),
        ("?limit=101", "limit"),
        ("?limit=many", "limit"),
        ("?cursor=%25", "cursor"),
        ("?cursor=abc", "cursor"),
        ("?cursor=" + "A" * 1001, "cursor"),
        ("?cursor=" + encoded("yesterday pi_1"), "cursor"),
        ("?cursor=" + encoded("2026-01-01T00:00:00 pi_1"), "cursor"),
        ("?cursor=" + encoded("2026-01-01T00:00:00+00:00"), "cursor"),
        ("?cursor=" + encoded("0001-01-01T00:00:00+23:59 pi_1"), "cursor"),
    ],
)
@pytest.mark.gen_test
async def test_invalid_parameter_is_named(api: Api, query: str, field: str) -> None:
    answer = await api.get(f"{HISTORY}{query}")
    assert (answer.code, json_of(answer)["code"]) == (400, "invalid_request")
    assert f"`{field}`" in json_of(answer)["message"]
