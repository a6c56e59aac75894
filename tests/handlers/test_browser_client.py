"""The requests of Datalayer's browser client, recorded: from another origin, in its order."""

import json
from pathlib import Path
from typing import Any

import pytest

from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.settings import Settings
from tests.support.app import ACCOUNT, Api, json_of
from tests.support.shop import Buyer, Shop

RECORDED = json.loads(
    (Path(__file__).parents[1] / "data" / "clients" / "browser.json").read_text(encoding="utf-8")
)
ORIGIN = RECORDED["origin"]
ORGANIZATION = "01JCZORGANIZATION0000000000"
REQUESTS: list[dict[str, Any]] = RECORDED["requests"]

# Browsers send these headers without a preflight request.
SAFELISTED = {"Accept"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"cors_origins": (ORIGIN,)})


def headers_of(recorded: dict[str, Any]) -> dict[str, str]:
    """Return the headers that the client sets itself, without its token."""
    headers = dict(RECORDED["headers"])
    if recorded["method"] == "GET":
        headers |= RECORDED["headers_of_get"]
    if "body" in recorded:
        headers["Content-Type"] = "application/json"
    return headers


async def preflight(api: Api, recorded: dict[str, Any]) -> None:
    """Send the preflight request of a browser, and check that it allows the recorded request."""
    requested = sorted({*headers_of(recorded), "Authorization"} - SAFELISTED)
    answer = await api.request(
        "OPTIONS",
        recorded["path"],
        headers={
            "Origin": ORIGIN,
            "Access-Control-Request-Method": recorded["method"],
            "Access-Control-Request-Headers": ",".join(requested).lower(),
        },
    )
    assert answer.code == 204
    allowed = answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
    assert {name.lower() for name in requested} <= set(allowed)
    assert recorded["method"] in answer.headers["Access-Control-Allow-Methods"].split(", ")
    assert_readable(answer.headers)


def assert_readable(headers: Any) -> None:
    """Check the headers without which a browser hides the response from the page."""
    assert headers["Access-Control-Allow-Origin"] == ORIGIN
    assert headers["Access-Control-Allow-Credentials"] == "true"


async def send(api: Api, recorded: dict[str, Any], shop: Shop, scope: str | None = None) -> Any:
    path, body = recorded["path"], recorded.get("body")
    if body is not None:
        text = json.dumps(body).replace("<account>", ACCOUNT)
        text = text.replace("<plan>", shop.plan).replace("<package>", shop.packages[0])
        body = json.loads(text)
    if scope and recorded["scoped"] == "query":
        path += f"?billing_entity_uid={scope}"
    elif scope:
        body = {**(body or {}), "account_uid": scope}
    answer = await api.request(
        recorded["method"],
        path,
        headers={
            **headers_of(recorded),
            "Authorization": f"Bearer {api.bearer(ACCOUNT)}",
            "Origin": ORIGIN,
        },
        body=None if body is None else json.dumps(body).encode(),
    )
    assert_readable(answer.headers)
    return answer


def read(fields: Any, path: str) -> Any:
    """Return the value at a dotted path.

    Raises:
        KeyError, IndexError: If it is missing.
    """
    for name in path.split("."):
        fields = fields[int(name)] if isinstance(fields, list) else fields[name]
    return fields


@pytest.mark.parametrize("scope", [None, ACCOUNT], ids=["no account named", "own account named"])
@pytest.mark.gen_test
async def test_client_subscribes_buys_cancels_and_resumes(
    buyer: Buyer, webhooks: Webhooks, shop: Shop, scope: str | None
) -> None:
    for recorded in REQUESTS:
        await preflight(buyer.api, recorded)
        answer = await send(buyer.api, recorded, shop, scope if "scoped" in recorded else None)
        assert answer.code == recorded.get("status", 200), (recorded["name"], answer.body)
        fields = json_of(answer)
        for path in recorded["reads"]:
            read(fields, path)
        if recorded["name"] in {"subscribe", "top-up"}:
            buyer.sandbox.confirm_payment(fields["client_secret"])
            await webhooks.settle()
    assert fields["credits"]["credits"] == 50


@pytest.mark.gen_test
async def test_client_cannot_buy_for_organization(
    buyer: Buyer, webhooks: Webhooks, shop: Shop
) -> None:
    await buyer.subscribe()
    for recorded in REQUESTS:
        if "scoped" in recorded:
            answer = await send(buyer.api, recorded, shop, ORGANIZATION)
            assert (answer.code, json_of(answer)["code"]) == (403, "forbidden"), recorded["name"]
    assert await buyer.credits() == 0
    assert (await buyer.plan())["cancel_at_period_end"] is False
