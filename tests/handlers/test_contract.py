"""The successful response of every route and alias: status, exact fields and their types."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest

from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from tests.support.app import ACCOUNT, Api, json_of
from tests.support.shop import (
    IAM_ROUTES,
    OTHER_ACCOUNT,
    STRIPE_ROUTES,
    Buyer,
    Shop,
)


class Iso:
    """Placeholder for a time in ISO 8601, in UTC."""


INVOICE = {
    "id": str,
    "status": str,
    "amount": int,
    "currency": str,
    "paid_at": Iso,
    "attempt_count": int,
}
WITHOUT_SUBSCRIPTION = {
    "id": None,
    "status": "none",
    "plan_id": None,
    "plan_name": "Free",
    "plan_code": None,
    "amount": None,
    "currency": None,
    "interval": None,
    "current_period_start": None,
    "current_period_end": None,
    "cancel_at_period_end": False,
    "included_runs": None,
    "used_runs": 0,
    "wallet_balance": 0,
    "wallet_is_quota": False,
    "wallet_quota": None,
    "current_credits": 0,
    "used_credits": 0,
    "current_runs": None,
    "remaining_runs": None,
    "billing_provider": None,
    "is_eligible": False,
    "account_uid": ACCOUNT,
    "account_handle": "ada",
    "latest_invoice": None,
}
SUBSCRIBED = {
    **WITHOUT_SUBSCRIPTION,
    "id": str,
    "status": "active",
    "plan_id": str,
    "billing_provider": "stripe",
    "plan_name": "Datalayer Monthly",
    "plan_code": str,
    "amount": 2900,
    "currency": "usd",
    "interval": "month",
    "current_period_start": Iso,
    "current_period_end": Iso,
    "is_eligible": True,
    "latest_invoice": INVOICE,
}
PLAN = {
    "id": str,
    "name": "Datalayer Monthly",
    "code": str,
    "amount": 2900,
    "price": 29.0,
    "currency": "usd",
    "interval": "month",
    "included_runs": None,
}
PACKAGE = {
    "id": str,
    "name": str,
    "amount": int,
    "unit_amount": int,
    "currency": "usd",
    "credits": int,
    "default": bool,
}
ROW = {
    "account_uid": ACCOUNT,
    "account_handle": "ada",
    "account_name": "ada",
    "account_type": "user",
    "subscription": SUBSCRIBED,
    "plan": SUBSCRIBED,
    "plan_source_account_uid": ACCOUNT,
    "billing_provider": "stripe",
    "wallet_balance": 0,
    "is_eligible": False,
}
PORTAL_URL = "https://billing.example.com/p/login/test"


class Route(NamedTuple):
    method: str
    paths: tuple[str, ...]
    answer: dict[str, Any]
    status: int = 200
    body: Any = None
    subscribed: bool = True


def iam(*paths: str) -> tuple[str, ...]:
    return tuple(IAM_ROUTES + path for path in paths)


def stripe(*paths: str) -> tuple[str, ...]:
    return tuple(STRIPE_ROUTES + path for path in paths)


SUBSCRIPTION = {
    "account_uid": ACCOUNT,
    "portal": {"url": PORTAL_URL, "route": "checkout"},
    "available_plans": [PLAN],
}
ROUTES = [
    Route("GET", stripe("/topup/prices", "/plans/prices"), {"prices": [PACKAGE]}),
    Route(
        "POST",
        stripe("/topup/payment-intent"),
        {
            "client_secret": str,
            "payment_intent_id": str,
            "price_id": str,
            "amount": 500,
            "currency": "usd",
            "credits": 50,
            "publishable_key": "pk_test_tests",
        },
        201,
        {"price_id": "PACKAGE"},
    ),
    Route(
        "POST",
        stripe("/subscription/payment-intent"),
        {"client_secret": str, "subscription_id": str, "status": "incomplete"},
        201,
        {"price_id": "PLAN"},
        subscribed=False,
    ),
    Route("POST", stripe("/subscription/resume/setup-intent"), {"client_secret": str}, 201),
    Route(
        "GET",
        iam("/subscription", "/plans"),
        {**SUBSCRIPTION, "subscription": SUBSCRIBED, "plan": SUBSCRIBED},
    ),
    Route(
        "GET",
        iam("/subscription", "/plans"),
        {**SUBSCRIPTION, "subscription": WITHOUT_SUBSCRIPTION, "plan": WITHOUT_SUBSCRIPTION},
        subscribed=False,
    ),
    Route(
        "POST",
        iam("/subscription/cancel", "/plans/cancel"),
        {
            "message": str,
            "status": "active",
            "cancel_at_period_end": True,
            "portal": {"url": PORTAL_URL},
        },
    ),
    Route(
        "POST",
        iam("/subscription/resume", "/plans/resume"),
        {"message": str, "status": "active", "cancel_at_period_end": False},
    ),
    Route("GET", iam("/subscription/plans", "/plans/catalog"), {"plans": [PLAN]}),
    Route(
        "GET",
        iam("/usage/credits"),
        {
            "credits": {"credits": 0, "quota": None, "used": 0, "last_update": None},
            "reservations": [],
        },
    ),
    Route(
        "POST",
        iam("/checkout/portal"),
        {
            "portal": {
                "url": str,
                "route": "checkout",
                "is_modal": False,
                "metadata": {"stripe_key": "pk_test_tests"},
            }
        },
        body={"return_url": "https://app.example.com/settings"},
    ),
    Route("GET", iam("/plans/eligible-accounts"), {"accounts": [ROW]}),
    Route(
        "POST",
        iam("/plans/accounts/details"),
        {"accounts": [ROW]},
        body={"account_uids": [OTHER_ACCOUNT, ACCOUNT]},
    ),
    Route("GET", iam("/memberships"), {"memberships": []}),
    Route("GET", iam("/ping"), {"message": "pong"}),
]
CASES = [(route, path) for route in ROUTES for path in route.paths]


def assert_shape(value: Any, shape: Any, at: str = "body") -> None:
    """Check that `value` has exactly the keys of `shape`, and its types or literal values."""
    if isinstance(shape, dict):
        assert isinstance(value, dict), at
        assert set(value) == set(shape), at
        for name, part in shape.items():
            assert_shape(value[name], part, f"{at}.{name}")
    elif isinstance(shape, list):
        assert isinstance(value, list), at
        assert bool(value) == bool(shape), at
        for index, item in enumerate(value):
            assert_shape(item, shape[0], f"{at}[{index}]")
    elif shape is Iso:
        assert datetime.fromisoformat(value).utcoffset() == timedelta(0), at
    elif isinstance(shape, type):
        assert type(value) is shape, at
    else:
        assert (value, type(value)) == (shape, type(shape)), at


@pytest.mark.parametrize(
    ("route", "path"), CASES, ids=[f"{r.method} {p} {r.subscribed}" for r, p in CASES]
)
@pytest.mark.gen_test
async def test_route_returns_exactly_the_documented_fields(
    buyer: Buyer, webhooks: Webhooks, shop: Shop, route: Route, path: str
) -> None:
    if route.subscribed:
        await buyer.subscribe()
    if path.endswith("/resume"):
        await buyer.api.post(f"{IAM_ROUTES}/subscription/cancel")
    body = dict(route.body) if route.body else None
    if body and "price_id" in body:
        body["price_id"] = shop.plan if body["price_id"] == "PLAN" else shop.packages[0]
    user = {"uid": ACCOUNT, "handle": "ada", "email": "ada@example.com", "roles": []}
    if route.method == "GET":
        answer = await buyer.api.get(path, user=user)
    else:
        answer = await buyer.api.post(path, body, user=user)
    assert answer.code == route.status
    assert answer.headers["Content-Type"] == "application/json; charset=UTF-8"
    assert answer.headers["X-Request-Id"]
    assert_shape(json_of(answer), {"success": True, **route.answer})


@pytest.mark.gen_test
async def test_ping_and_health_need_no_token(api: Api) -> None:
    answer = await api.get(f"{IAM_ROUTES}/ping", account=None)
    assert json_of(answer) == {"success": True, "message": "pong"}
    assert json_of(await api.get("/healthz", account=None)) == {"success": True, "status": "ok"}
    assert json_of(await api.get("/readyz", account=None)) == {
        "success": True,
        "status": "ready",
        "warnings": {},
    }


@pytest.mark.gen_test
async def test_subscription_fields_match_stripe(
    buyer: Buyer, webhooks: Webhooks, sandbox: Sandbox, shop: Shop
) -> None:
    metadata = {"included_runs": "1000", "code": "team"}
    sandbox.update_price(shop.plan, nickname="Team", metadata=metadata)
    subscription = sandbox.get(await buyer.subscribe())
    await buyer.buy(shop.packages[1])
    item = subscription["items"]["data"][0]
    subscription_view = await buyer.plan()
    expected = {
        "id": subscription["id"],
        "plan_id": shop.plan,
        "plan_name": "Team",
        "plan_code": "team",
        "included_runs": 1000,
        "wallet_balance": 220,
        "current_credits": 0,
        "remaining_runs": 1000,
    }
    assert subscription_view == {**subscription_view, **expected}
    for name in ("current_period_start", "current_period_end"):
        assert datetime.fromisoformat(subscription_view[name]).timestamp() == item[name]
    invoice = sandbox.get(subscription["latest_invoice"])
    paid_at = datetime.fromisoformat(subscription_view["latest_invoice"].pop("paid_at"))
    assert paid_at.timestamp() == invoice["status_transitions"]["paid_at"]
    assert subscription_view["latest_invoice"] == {
        "id": invoice["id"],
        "status": "paid",
        "amount": 2900,
        "currency": "usd",
        "attempt_count": 1,
    }


@pytest.mark.gen_test
async def test_credits_include_time_of_last_change(buyer: Buyer, webhooks: Webhooks) -> None:
    await buyer.subscribe()
    await buyer.buy()
    credits = json_of(await buyer.api.get(f"{IAM_ROUTES}/usage/credits"))["credits"]
    assert credits["credits"] == 50
    assert_shape(credits["last_update"], Iso)


@pytest.mark.gen_test
async def test_account_cannot_see_or_change_data_of_another_account(
    buyer: Buyer, stranger: Buyer, webhooks: Webhooks
) -> None:
    subscription_id = await buyer.subscribe()
    await buyer.buy()
    api = buyer.api
    details = f"{IAM_ROUTES}/plans/accounts/details"
    answer = await api.post(details, {"account_uids": [ACCOUNT]}, OTHER_ACCOUNT)
    assert json_of(answer)["accounts"] == []
    listed = await api.get(f"{IAM_ROUTES}/plans/eligible-accounts", OTHER_ACCOUNT)
    assert [row["account_uid"] for row in json_of(listed)["accounts"]] == [OTHER_ACCOUNT]
    assert (await stranger.plan())["status"] == "none"
    assert await stranger.credits() == 0
    for path in ("/subscription/cancel", "/subscription/resume"):
        assert (await api.post(IAM_ROUTES + path, account=OTHER_ACCOUNT)).code == 409
    assert (await buyer.plan())["id"] == subscription_id
    assert (await buyer.plan())["cancel_at_period_end"] is False


@pytest.mark.gen_test
async def test_whoami_returns_claims_of_token(api: Api) -> None:
    person = {
        "handle": "ada",
        "email": "ada@example.com",
        "firstName": "Ada",
        "lastName": "Lovelace",
    }
    answer = await api.get(f"{IAM_ROUTES}/whoami", user=person)
    assert json_of(answer) == {
        "success": True,
        "profile": {
            "uid": ACCOUNT,
            "handle_s": "ada",
            "email_s": "ada@example.com",
            "first_name_t": "Ada",
            "last_name_t": "Lovelace",
        },
    }
    profile = json_of(await api.get(f"{IAM_ROUTES}/whoami", user=None))["profile"]
    assert profile == {"uid": ACCOUNT, **dict.fromkeys(list(profile)[1:])}
    assert (await api.get(f"{IAM_ROUTES}/whoami", account=None)).code == 401


@pytest.mark.gen_test
async def test_account_with_credits_is_eligible_to_start_work(
    buyer: Buyer, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    await buyer.buy()
    listed = json_of(await buyer.api.get(f"{IAM_ROUTES}/plans/eligible-accounts"))
    [row] = listed["accounts"]
    assert (row["wallet_balance"], row["is_eligible"]) == (50, True)
    assert row["plan"]["current_credits"] == 0, "the credits that were used, not the balance"
