"""Requests that name another account are refused, and are not executed for the caller instead."""

import re
from typing import Any

import pytest

from datalayer_stripe.handlers import default_handlers
from datalayer_stripe.handlers.api import AuthenticatedHandler
from datalayer_stripe.sandbox import Sandbox
from tests.support.app import ACCOUNT, Api, json_of
from tests.support.shop import IAM_ROUTES, STRIPE_ROUTES, Buyer, Shop

ORGANIZATION = "01JCZORGANIZATION0000000000"

FOREIGN: list[dict[str, str]] = [
    {"account_uid": ORGANIZATION},
    {"billing_entity_uid": ORGANIZATION},
    {"billing_entity_uid": ACCOUNT, "billing_entity_kind": "organization"},
    {"billing_entity_kind": "team"},
]


def paths(method: str) -> list[str]:
    """Return a path for each authenticated route and alias that implements `method`."""
    found = []
    for pattern, handler in default_handlers:
        implemented = getattr(handler, method.lower()) is not handler._unimplemented_method
        if not issubclass(handler, AuthenticatedHandler) or not implemented:
            continue
        path = re.sub(r"\(\?P<id>[^)]*\)", "pi_1", pattern)
        choices = re.search(r"\(\?:([^)]*)\)", path)
        for choice in choices[1].split("|") if choices else [""]:
            found.append(re.sub(r"\(\?:[^)]*\)", choice, path))
    return found


def query(fields: dict[str, str]) -> str:
    return "&".join(f"{name}={value}" for name, value in fields.items())


@pytest.mark.gen_test
async def test_every_route_refuses_query_that_names_another_account(
    api: Api, sandbox: Sandbox, shop: Shop
) -> None:
    assert len(paths("GET")) > 10
    assert len(paths("POST")) > 8
    for method in ("GET", "POST"):
        for path in paths(method):
            for fields in FOREIGN:
                url = f"{path}?{query(fields)}"
                answer = await (api.get(url) if method == "GET" else api.post(url, {}))
                assert (answer.code, json_of(answer)["code"]) == (403, "forbidden"), url
    assert sandbox.api.calls == []


@pytest.mark.gen_test
async def test_every_route_refuses_body_that_names_another_account(
    api: Api, sandbox: Sandbox, shop: Shop
) -> None:
    for path in paths("POST"):
        for fields in FOREIGN:
            body = {"price_id": shop.packages[0], "return_url": "https://a.example.com", **fields}
            answer = await api.post(path, {**body, "account_uids": [ACCOUNT]})
            assert (answer.code, json_of(answer)["code"]) == (403, "forbidden"), (path, fields)
    assert sandbox.api.calls == []


@pytest.mark.gen_test
async def test_all_values_of_repeated_query_argument_are_checked(api: Api) -> None:
    both = f"billing_entity_uid={ORGANIZATION}&billing_entity_uid={ACCOUNT}"
    assert (await api.get(f"{IAM_ROUTES}/usage/credits?{both}")).code == 403


@pytest.mark.parametrize("value", [7, ["a"], {"uid": ACCOUNT}, True])
@pytest.mark.gen_test
async def test_account_uid_of_wrong_type_is_invalid_request(
    api: Api, shop: Shop, value: Any
) -> None:
    for path in (f"{STRIPE_ROUTES}/topup/payment-intent", f"{IAM_ROUTES}/plans/cancel"):
        answer = await api.post(path, {"price_id": shop.packages[0], "account_uid": value})
        assert (answer.code, json_of(answer)["code"]) == (400, "invalid_request")
        assert "account_uid" in json_of(answer)["message"]


@pytest.mark.gen_test
async def test_caller_may_name_its_own_account(buyer: Buyer, webhooks: Any, shop: Shop) -> None:
    await buyer.subscribe()
    own = {"account_uid": ACCOUNT, "billing_entity_uid": ACCOUNT, "billing_entity_kind": "user"}
    path = f"{STRIPE_ROUTES}/topup/payment-intent"
    answer = await buyer.api.post(path, {"price_id": shop.packages[0], **own})
    assert answer.code == 201
    for fields in (own, dict.fromkeys(own, "")):
        answer = await buyer.api.get(f"{IAM_ROUTES}/usage/credits?{query(fields)}")
        assert answer.code == 200
    for body in (own, dict.fromkeys(own), {}, None):
        await buyer.api.post(f"{IAM_ROUTES}/plans/resume")
        answer = await buyer.api.post(f"{IAM_ROUTES}/plans/cancel", body)
        assert (answer.code, json_of(answer)["cancel_at_period_end"]) == (200, True)
