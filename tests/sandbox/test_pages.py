"""The pages: authentication, receipts, invoices, and the files of Stripe.js."""

import re
from typing import Any

import pytest
from tornado.httpclient import HTTPResponse

from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.engine.formatting import card_name, date, money
from datalayer_stripe.sandbox.pages.static_files import WEB, stripe_js
from tests.sandbox.conftest import Http, Shop

FORM = "application/x-www-form-urlencoded"
BACK = "https://shop.example.com/done?from=shop"


def pending(sandbox: Sandbox, **params: Any) -> dict[str, Any]:
    """A payment that waits for its card's holder."""
    return sandbox.call(
        "POST",
        "/v1/payment_intents",
        amount=500,
        currency="usd",
        confirm=True,
        payment_method="pm_card_threeDSecure2Required",
        **params,
    )


async def answer(http: Http, intent_id: str, accept: bool, **headers: str) -> HTTPResponse:
    path, body = f"/sandbox/authenticate/{intent_id}", f"accept={str(accept).lower()}"
    return await http("POST", path, body, key=None, Content_Type=FORM, **headers)


@pytest.mark.gen_test
@pytest.mark.parametrize(("accept", "ended"), [(True, "succeeded"), (False, "failed")])
async def test_after_a_redirect_the_answer_leads_back(
    sandbox: Sandbox, http: Http, accept: bool, ended: str
) -> None:
    intent = pending(sandbox, return_url=BACK)
    asked = await http("GET", f"/sandbox/authenticate/{intent['id']}", key=None)
    assert b"A payment of $5.00." in asked.body
    done = await answer(http, intent["id"], accept)
    assert (done.code, done.headers["Location"]) == (
        302,
        f"{BACK}&payment_intent={intent['id']}"
        f"&payment_intent_client_secret={intent['client_secret']}&redirect_status={ended}",
    )
    assert (sandbox.get(intent["id"])["status"] == "succeeded") == accept


@pytest.mark.gen_test
async def test_in_the_dialog_of_stripe_js_the_page_says_that_it_is_over(
    sandbox: Sandbox, http: Http
) -> None:
    intent = pending(sandbox, use_stripe_sdk=True, return_url=BACK)
    assert intent["next_action"]["type"] == "use_stripe_sdk"
    asked = await http("GET", f"/sandbox/authenticate/{intent['id']}", key=None)
    assert "frame-ancestors" not in asked.headers["Content-Security-Policy"]
    refused = await answer(http, intent["id"], accept=False)
    assert b"Done: requires_payment_method" in refused.body
    assert b"authenticated.js" in refused.body
    late = await answer(http, intent["id"], accept=True)
    assert b"does not require" in late.body
    nothing = await http("GET", f"/sandbox/authenticate/{intent['id']}", key=None)
    assert b"Nothing to do: requires_payment_method" in nothing.body
    assert b"authenticated.js" in nothing.body


@pytest.mark.gen_test
async def test_a_page_of_another_origin_cannot_answer(sandbox: Sandbox, http: Http) -> None:
    intent = pending(sandbox, use_stripe_sdk=True)
    for origin in ("https://evil.example.com", "null"):
        assert (await answer(http, intent["id"], True, Origin=origin)).code == 403
    rebound = await answer(http, intent["id"], True, Host="evil.example.com")
    assert rebound.code == 421
    assert sandbox.get(intent["id"])["status"] == "requires_action"
    assert (await answer(http, intent["id"], True, Origin=sandbox.url)).code == 200
    assert sandbox.get(intent["id"])["status"] == "succeeded"


@pytest.mark.gen_test
async def test_a_setup_is_authenticated_as_well(sandbox: Sandbox, http: Http) -> None:
    intent = sandbox.call("POST", "/v1/setup_intents", return_url=BACK)
    sandbox.confirm_setup(intent["id"], "4000002760003184", return_url=BACK)
    assert sandbox.get(intent["id"])["next_action"]["type"] == "use_stripe_sdk"
    asked = await http("GET", f"/sandbox/authenticate/{intent['id']}", key=None)
    assert b"save your card" in asked.body
    assert b"Done: succeeded" in (await answer(http, intent["id"], accept=True)).body


@pytest.mark.gen_test
async def test_a_receipt_tells_what_was_paid_and_what_came_back(
    sandbox: Sandbox, http: Http, shop: Shop
) -> None:
    intent = sandbox.call(
        "POST",
        "/v1/payment_intents",
        amount=500,
        currency="usd",
        customer=shop.customer,
        description="50 <credits>",
        payment_method="pm_card_visa",
        confirm=True,
        use_stripe_sdk=True,
    )
    sandbox.refund(intent["id"], 125)
    charges = sandbox.call("GET", "/v1/charges", customer=shop.customer)["data"]
    receipt = charges[0]["receipt_url"].removeprefix(sandbox.url)
    shown = (await http("GET", receipt, key=None)).body.decode()
    for text in ("$5.00", "Refunded: $1.25", "50 &lt;credits&gt;", "Visa •••• 4242", intent["id"]):
        assert text in shown
    missing = await http("GET", "/sandbox/receipts/ch_none", key=None)
    assert (missing.code, b"Not Found" in missing.body) == (404, True)
    assert (await http("GET", f"/sandbox/receipts/{shop.customer}", key=None)).code == 404


@pytest.mark.gen_test
async def test_a_declined_charge_has_no_receipt(sandbox: Sandbox) -> None:
    intent = sandbox.call("POST", "/v1/payment_intents", amount=500, currency="usd")
    with pytest.raises(Exception, match="declined"):
        sandbox.confirm_payment(intent["id"], "pm_card_chargeDeclined")
    charge = sandbox.get(sandbox.get(intent["id"])["latest_charge"])
    assert charge["receipt_url"] is None


@pytest.mark.parametrize(
    ("amount", "currency", "written"),
    [
        (500, "usd", "$5.00"),
        (123456, "eur", "€1,234.56"),
        (500, "jpy", "500 JPY"),
        (500, "chf", "5.00 CHF"),
        (500000, "ugx", "5,000.00 UGX"),
        (500000, "isk", "5,000.00 ISK"),
        (5120, "kwd", "5.120 KWD"),
    ],
)
def test_amounts_are_written_in_the_major_unit(amount: int, currency: str, written: str) -> None:
    assert money(amount, currency) == written


def test_dates_and_cards_are_written_for_people() -> None:
    assert date(1772668800) == "5 Mar 2026"
    assert card_name({"brand": "amex", "last4": "0005"}) == "American Express •••• 0005"


@pytest.mark.gen_test
async def test_stripe_js_is_one_script_whose_names_do_not_meet(
    sandbox: Sandbox, http: Http
) -> None:
    answered = await http("GET", "/sandbox/stripe.js", key=None)
    assert answered.headers["Content-Type"] == "text/javascript; charset=utf-8"
    script = answered.body.decode()
    assert script == stripe_js()
    assert not re.findall(r"^(?:import|export)\b", script, re.MULTILINE)
    pattern = r"^(?:async )?(?:const|let|class|function) (\w+)"
    names = re.findall(pattern, script, re.MULTILINE)
    assert len(names) == len(set(names)) > 20


def test_each_part_of_stripe_js_comes_after_what_it_imports() -> None:
    script = stripe_js()
    texts = {path.stem: path.read_text(encoding="utf-8") for path in (WEB / "stripe").iterdir()}
    places = {name: script.index(body_of(text)) for name, text in texts.items()}
    for name, text in texts.items():
        for imported in re.findall(r'^import .+ from "\./(\w+)\.js";$', text, re.MULTILINE):
            assert places[imported] < places[name], (name, imported)


def body_of(text: str) -> str:
    """A module's text from its first declaration on, as it is in the joined script."""
    lines = [line for line in text.splitlines() if not line.startswith("import ")]
    return "\n".join(line.removeprefix("export ") for line in lines).strip()


@pytest.mark.gen_test
async def test_the_files_of_the_browser_are_served_under_a_strict_policy(
    sandbox: Sandbox, http: Http
) -> None:
    folders = ("elements", "pages", "panel", "stripe")
    paths = [path for folder in folders for path in (WEB / folder).iterdir()]
    for path in [*paths, WEB / "panel"]:
        answered = await http("GET", f"/sandbox/{path.relative_to(WEB)}", key=None)
        assert answered.code == 200, path
        policy = answered.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answered.headers["X-Content-Type-Options"] == "nosniff"
    for path in ("templates/base.html", "web.py", "elements/../../web.py", "elements/none.js"):
        assert (await http("GET", f"/sandbox/{path}", key=None)).code == 404


@pytest.mark.parametrize("path", sorted(WEB.rglob("*.html")), ids=lambda path: path.name)
def test_no_page_has_scripts_or_styles_inside(path: Any) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.findall(r"\sstyle=|\son\w+=|<style|<script(?![^>]* src=)", text)
