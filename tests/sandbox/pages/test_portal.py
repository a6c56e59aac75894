"""Pages of the billing portal."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest
from tornado.httpclient import HTTPResponse

from datalayer_stripe.sandbox import Sandbox
from tests.sandbox.conftest import FORM, Http, Shop, create_subscription

RETURN_URL = "https://shop.example.com/account"


CARD = {"action": "card", "number": "5555 5555 5555 4444", "expiry": "12 / 34", "cvc": "123"}


@dataclass
class Portal:
    """A portal session of a customer with a plan, and an HTTP client for it."""

    http: Http
    path: str
    subscription: str
    invoice: str

    async def show(self, query: str = "") -> str:
        response = await self.http("GET", self.path + query, key=None)
        assert response.code == 200
        return response.body.decode()

    async def post(self, headers: dict[str, str] | None = None, **fields: str) -> HTTPResponse:
        body = urlencode(fields)
        return await self.http(
            "POST", self.path, body, key=None, Content_Type=FORM, **(headers or {})
        )


def enabled_features(**features: Any) -> dict[str, Any]:
    return {name: {"enabled": True, **more} for name, more in features.items()}


ALL_FEATURES = enabled_features(
    invoice_history={}, payment_method_update={}, subscription_cancel={"mode": "at_period_end"}
)


def open_portal(
    sandbox: Sandbox,
    http: Http,
    shop: Shop,
    features: dict[str, Any] = ALL_FEATURES,
    return_url: str = RETURN_URL,
) -> Portal:
    created = create_subscription(sandbox, shop)
    sandbox.confirm_payment(created["latest_invoice"]["confirmation_secret"]["client_secret"])
    path = "/v1/billing_portal/configurations"
    configuration = sandbox.call("POST", path, features=features)["id"]
    portal_session = sandbox.call(
        "POST",
        "/v1/billing_portal/sessions",
        customer=shop.customer,
        configuration=configuration,
        return_url=return_url,
    )
    path = portal_session["url"].removeprefix(sandbox.url)
    return Portal(http, path, created["id"], created["latest_invoice"]["id"])


@pytest.fixture
def portal(sandbox: Sandbox, http: Http, shop: Shop) -> Portal:
    return open_portal(sandbox, http, shop)


@pytest.mark.gen_test
async def test_portal_shows_plan_card_and_invoices(sandbox: Sandbox, portal: Portal) -> None:
    shown = await portal.show()
    invoice = sandbox.get(portal.invoice)
    for text in (
        "$29.00 a month",
        "Status: active.",
        "It renews on ",
        "Visa •••• 4242",
        invoice["number"],
        f'href="{invoice["hosted_invoice_url"]}"',
        f'<a href="{RETURN_URL}">Return to shop.example.com</a>',
    ):
        assert text in shown
    page = invoice["hosted_invoice_url"].removeprefix(sandbox.url)
    document = (await portal.http("GET", page, key=None)).body.decode()
    assert "$29.00" in document
    assert "Ada" in document


@pytest.mark.gen_test
async def test_plan_is_canceled_at_period_end_and_resumed(sandbox: Sandbox, portal: Portal) -> None:
    done = await portal.post(action="cancel", id=portal.subscription)
    assert (done.code, done.headers["Location"]) == (303, f"{portal.path}?done=ending")
    assert sandbox.get(portal.subscription)["cancel_at_period_end"] is True
    shown = await portal.show("?done=ending")
    assert "Your plan will end with the current period." in shown
    assert "Your plan ends on " in shown
    assert "Don&#x27;t cancel plan" in shown or "Don't cancel plan" in shown
    done = await portal.post(action="resume", id=portal.subscription)
    assert done.headers["Location"].endswith("?done=kept")
    assert sandbox.get(portal.subscription)["cancel_at_period_end"] is False


@pytest.mark.gen_test
async def test_plan_is_canceled_immediately_if_configured(
    sandbox: Sandbox, http: Http, shop: Shop
) -> None:
    features = enabled_features(subscription_cancel={"mode": "immediately"})
    portal = open_portal(sandbox, http, shop, features)
    done = await portal.post(action="cancel", id=portal.subscription)
    assert done.headers["Location"].endswith("?done=canceled")
    assert sandbox.get(portal.subscription)["status"] == "canceled"
    assert "You have no plan." in await portal.show()


@pytest.mark.gen_test
async def test_disabled_feature_is_neither_shown_nor_executed(
    sandbox: Sandbox, http: Http, shop: Shop
) -> None:
    features = {"invoice_history": {"enabled": False}}
    portal = open_portal(sandbox, http, shop, features)
    shown = await portal.show()
    for text in ("Cancel plan", "Change card", "Invoices"):
        assert text not in shown
    for fields in ({"action": "cancel", "id": portal.subscription}, CARD):
        refused = await portal.post(**fields)
        assert (refused.code, b"not enabled" in refused.body) == (400, True)
    assert sandbox.get(portal.subscription)["cancel_at_period_end"] is False


@pytest.mark.gen_test
async def test_new_card_becomes_default(sandbox: Sandbox, portal: Portal, shop: Shop) -> None:
    done = await portal.post(**CARD)
    assert done.headers["Location"].endswith("?done=card")
    method_id = sandbox.get(portal.subscription)["default_payment_method"]
    settings = sandbox.get(shop.customer)["invoice_settings"]
    assert settings["default_payment_method"] == method_id
    method = sandbox.get(method_id)
    assert (method["card"]["last4"], method["card"]["exp_year"]) == ("4444", 2034)
    assert method["customer"] == shop.customer
    assert "Mastercard •••• 4444, expires 12/2034" in await portal.show("?done=card")


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        ({"number": "4000000000000002"}, 402, "Your card was declined."),
        ({"number": "4242424242424241"}, 402, "Your card number is incorrect."),
        ({"expiry": "13 / 34"}, 400, "Use the format MM / YY"),
        ({"expiry": ""}, 400, "Use the format MM / YY"),
    ],
)
async def test_declined_card_changes_nothing(
    sandbox: Sandbox, portal: Portal, fields: dict[str, str], status: int, text: str
) -> None:
    before = sandbox.get(portal.subscription)["default_payment_method"]
    refused = await portal.post(**{**CARD, **fields})
    assert refused.code == status
    assert text in refused.body.decode()
    assert sandbox.get(portal.subscription)["default_payment_method"] == before


@pytest.mark.gen_test
async def test_open_invoice_is_paid(sandbox: Sandbox, portal: Portal) -> None:
    failed = sandbox.renew(portal.subscription, fail=True)
    assert "Status: past due." in await portal.show()
    done = await portal.post(action="pay", id=failed["latest_invoice"])
    assert done.headers["Location"].endswith("?done=paid")
    assert sandbox.get(portal.subscription)["status"] == "active"


@pytest.mark.gen_test
async def test_objects_of_another_customer_are_not_found(
    sandbox: Sandbox, http: Http, shop: Shop, portal: Portal
) -> None:
    other = sandbox.create_customer(name="Eve")["id"]
    path = "/v1/billing_portal/sessions"
    url = sandbox.call("POST", path, customer=other)["url"]
    other_portal = Portal(http, url.removeprefix(sandbox.url), "", "")
    for action, object_id in (("cancel", portal.subscription), ("pay", portal.invoice)):
        assert (await other_portal.post(action=action, id=object_id)).code == 404
    assert (await other_portal.post(action="cancel", id="sub_none")).code == 404
    assert (await other_portal.post(action="refund", id=portal.invoice)).code == 400
    assert sandbox.get(portal.subscription)["cancel_at_period_end"] is False


@pytest.mark.gen_test
async def test_action_from_another_origin_is_rejected(sandbox: Sandbox, portal: Portal) -> None:
    fields = {"action": "cancel", "id": portal.subscription}
    forged = await portal.post({"Origin": "https://evil.example.com"}, **fields)
    assert forged.code == 403
    assert (await portal.post({"Host": "evil.example.com"}, **fields)).code == 421
    assert sandbox.get(portal.subscription)["cancel_at_period_end"] is False
    assert (await portal.post({"Origin": sandbox.url}, **fields)).code == 303
    policy = (await portal.http("GET", portal.path, key=None)).headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self'" in policy


@pytest.mark.gen_test
async def test_expired_or_missing_session_is_not_found(
    sandbox: Sandbox, http: Http, shop: Shop, portal: Portal
) -> None:
    for path in ("/sandbox/portal/bps_none", f"/sandbox/portal/{shop.customer}"):
        missing = await http("GET", path, key=None)
        assert (missing.code, b"has expired" in missing.body) == (404, True)
    sandbox.clock.advance(3601)
    assert (await http("GET", portal.path, key=None)).code == 404
    assert (await portal.post(action="cancel", id=portal.subscription)).code == 404
    assert sandbox.get(portal.subscription)["cancel_at_period_end"] is False


@pytest.mark.gen_test
async def test_deleted_customer_has_no_portal(
    sandbox: Sandbox, http: Http, shop: Shop, portal: Portal
) -> None:
    sandbox.call("DELETE", f"/v1/customers/{shop.customer}")
    assert (await http("GET", portal.path, key=None)).code == 404


@pytest.mark.gen_test
@pytest.mark.parametrize("return_url", ["javascript:alert(1)", "/relative"])
async def test_return_link_is_shown_only_for_web_page(
    sandbox: Sandbox, http: Http, shop: Shop, return_url: str
) -> None:
    shown = await open_portal(sandbox, http, shop, return_url=return_url).show()
    assert "Return to" not in shown
    assert "javascript" not in shown


@pytest.mark.gen_test
async def test_shareable_link_explains_how_to_open_portal(http: Http) -> None:
    shown = await http("GET", "/sandbox/portal", key=None)
    assert (shown.code, b"sends no mail" in shown.body) == (200, True)
