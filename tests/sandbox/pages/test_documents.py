"""The page of a receipt."""

import pytest

from datalayer_stripe.sandbox import Sandbox
from tests.sandbox.conftest import Http, Shop


@pytest.mark.gen_test
async def test_receipt_shows_paid_and_refunded_amounts(
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
async def test_declined_charge_has_no_receipt(sandbox: Sandbox) -> None:
    intent = sandbox.call("POST", "/v1/payment_intents", amount=500, currency="usd")
    with pytest.raises(Exception, match="declined"):
        sandbox.confirm_payment(intent["id"], "pm_card_chargeDeclined")
    charge = sandbox.get(sandbox.get(intent["id"])["latest_charge"])
    assert charge["receipt_url"] is None
