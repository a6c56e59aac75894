"""The page on which a cardholder authenticates."""

from typing import Any

import pytest
from tornado.httpclient import HTTPResponse

from datalayer_stripe.sandbox import Sandbox
from tests.sandbox.conftest import FORM, Http

RETURN_URL = "https://shop.example.com/done?from=shop"


def create_pending_intent(sandbox: Sandbox, **params: Any) -> dict[str, Any]:
    """Create a PaymentIntent that requires authentication."""
    return sandbox.call(
        "POST",
        "/v1/payment_intents",
        amount=500,
        currency="usd",
        confirm=True,
        payment_method="pm_card_threeDSecure2Required",
        **params,
    )


async def submit_answer(http: Http, intent_id: str, accept: bool, **headers: str) -> HTTPResponse:
    path, body = f"/sandbox/authenticate/{intent_id}", f"accept={str(accept).lower()}"
    return await http("POST", path, body, key=None, Content_Type=FORM, **headers)


@pytest.mark.gen_test
@pytest.mark.parametrize(("accept", "ended"), [(True, "succeeded"), (False, "failed")])
async def test_answer_redirects_to_return_url(
    sandbox: Sandbox, http: Http, accept: bool, ended: str
) -> None:
    intent = create_pending_intent(sandbox, return_url=RETURN_URL)
    page = await http("GET", f"/sandbox/authenticate/{intent['id']}", key=None)
    assert b"A payment of $5.00." in page.body
    done = await submit_answer(http, intent["id"], accept)
    assert (done.code, done.headers["Location"]) == (
        302,
        f"{RETURN_URL}&payment_intent={intent['id']}"
        f"&payment_intent_client_secret={intent['client_secret']}&redirect_status={ended}",
    )
    assert (sandbox.get(intent["id"])["status"] == "succeeded") == accept


@pytest.mark.gen_test
async def test_page_in_dialog_reports_end_of_authentication(sandbox: Sandbox, http: Http) -> None:
    intent = create_pending_intent(sandbox, use_stripe_sdk=True, return_url=RETURN_URL)
    assert intent["next_action"]["type"] == "use_stripe_sdk"
    page = await http("GET", f"/sandbox/authenticate/{intent['id']}", key=None)
    assert "frame-ancestors" not in page.headers["Content-Security-Policy"]
    refused = await submit_answer(http, intent["id"], accept=False)
    assert b"Done: requires_payment_method" in refused.body
    assert b"authenticated.js" in refused.body
    late = await submit_answer(http, intent["id"], accept=True)
    assert b"does not require" in late.body
    nothing = await http("GET", f"/sandbox/authenticate/{intent['id']}", key=None)
    assert b"Nothing to do: requires_payment_method" in nothing.body
    assert b"authenticated.js" in nothing.body


@pytest.mark.gen_test
async def test_answer_from_another_origin_is_rejected(sandbox: Sandbox, http: Http) -> None:
    intent = create_pending_intent(sandbox, use_stripe_sdk=True)
    for origin in ("https://evil.example.com", "null"):
        assert (await submit_answer(http, intent["id"], True, Origin=origin)).code == 403
    rebound = await submit_answer(http, intent["id"], True, Host="evil.example.com")
    assert rebound.code == 421
    assert sandbox.get(intent["id"])["status"] == "requires_action"
    assert (await submit_answer(http, intent["id"], True, Origin=sandbox.url)).code == 200
    assert sandbox.get(intent["id"])["status"] == "succeeded"


@pytest.mark.gen_test
async def test_setup_intent_is_authenticated(sandbox: Sandbox, http: Http) -> None:
    intent = sandbox.call("POST", "/v1/setup_intents", return_url=RETURN_URL)
    sandbox.confirm_setup(intent["id"], "4000002760003184", return_url=RETURN_URL)
    assert sandbox.get(intent["id"])["next_action"]["type"] == "use_stripe_sdk"
    page = await http("GET", f"/sandbox/authenticate/{intent['id']}", key=None)
    assert b"save your card" in page.body
    assert b"Done: succeeded" in (await submit_answer(http, intent["id"], accept=True)).body
