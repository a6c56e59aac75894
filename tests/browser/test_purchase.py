"""Test subscribing, buying, the receipt and the prices."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.browser_session import BrowserSession
from tests.browser.demo_server import DemoServer


def test_packages_are_disabled_without_plan(session: BrowserSession) -> None:
    tab = session.open()
    tab.expect_view("ready")
    tab.expect_balance(0)
    button = tab.buy_button(50)
    expect(button).to_be_disabled()
    expect(button).to_have_accessible_description(
        "You need an active monthly plan to buy credits. Subscribe first."
    )
    expect(button).to_have_accessible_name("Buy 50 credits for $5.00")
    expect(tab.packages).to_contain_text("$0.10 per credit")
    expect(tab.history).to_contain_text("No purchases yet.")


def test_subscribed_account_buys_credits(session: BrowserSession, demo_server: DemoServer) -> None:
    tab = session.open()
    tab.subscribe_button.click()
    expect(tab.page.get_by_role("heading", name="Subscribe for $29.00 a month")).to_be_focused()
    tab.pay()
    expect(tab.buy_button(50)).to_be_enabled()
    expect(tab.plan).to_contain_text("Renews on")
    expect(tab.plan.get_by_role("button", name="Cancel subscription")).to_be_visible()

    tab.choose(50)
    expect(tab.page.get_by_role("heading", name="Pay $5.00 for 50 credits")).to_be_focused()
    tab.pay()
    tab.expect_state("done")
    tab.expect_balance(50)
    expect(tab.receipt).to_contain_text("50 credits added. Balance: 0 → 50.")
    expect(tab.receipt).to_be_focused()
    expect(tab.announcements).to_contain_text("50 credits")
    expect(tab.page).to_have_title(re.compile("^50 credits"))

    [row] = tab.rows.all()
    expect(row).to_contain_text("+50")
    expect(row).to_contain_text("$5.00")
    assert demo_server.credits() == 50
    assert len(demo_server.charges(500)) == 1


def test_receipt_link_opens_stripe_receipt(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    demo_server.subscribe()
    tab = session.open()
    tab.buy(50)
    link = tab.history.get_by_role("link", name="Receipt for 50 credits")
    expect(link).to_have_attribute("rel", re.compile("noopener"))
    with session.context.expect_page() as opened:
        link.click()
    [charge] = demo_server.charges(500)
    expect(opened.value).to_have_url(charge["receipt_url"])
    expect(opened.value.locator("body")).to_contain_text("$5.00")


def test_purchase_appears_in_another_tab(session: BrowserSession, demo_server: DemoServer) -> None:
    demo_server.subscribe()
    watching, buying = session.open(), session.open()
    watching.expect_balance(0)
    buying.buy(220)
    watching.expect_balance(220)
    expect(watching.rows).to_have_count(1)


def test_page_stores_no_secret(session: BrowserSession, demo_server: DemoServer) -> None:
    demo_server.subscribe()
    tab = session.open()
    tab.choose(50)
    stored = "JSON.stringify({...sessionStorage})"
    assert not session.monitor.contains_secret(tab.page.evaluate(stored))
    assert not session.monitor.contains_secret(tab.page.content())
    tab.pay()
    tab.expect_state("done")
    assert not session.monitor.contains_secret(tab.page.evaluate(stored))
    assert not session.monitor.contains_secret(tab.page.content())
    assert not session.monitor.contains_secret(
        tab.page.evaluate("JSON.stringify(history.state)") or ""
    )


def test_receipt_disappears_when_outdated(session: BrowserSession, demo_server: DemoServer) -> None:
    subscription = demo_server.subscribe()
    tab = session.open()
    tab.buy(50)
    expect(tab.receipt).to_contain_text("50 credits added. Balance: 0 → 50.")
    [charge] = demo_server.charges(500)
    demo_server.call(demo_server.sandbox.refund, charge["payment_intent"])
    tab.expect_balance(0)
    expect(tab.receipt).to_be_hidden()

    demo_server.call(demo_server.sandbox.cancel_subscription, subscription)
    tab.subscribe()
    expect(tab.receipt).to_contain_text("Your plan is active.")
    [running] = demo_server.list_own("/v1/subscriptions")
    demo_server.call(demo_server.sandbox.cancel_subscription, running["id"])
    expect(tab.receipt).to_be_hidden()


def test_best_price_per_credit_is_marked(session: BrowserSession, demo_server: DemoServer) -> None:
    demo_server.subscribe()
    tab = session.open()
    cards = tab.packages.get_by_role("listitem")
    marked = cards.filter(has_text="Best price per credit")
    expect(marked).to_have_count(1)
    expect(marked).to_contain_text("600")
    mark = marked.get_by_text("Best price per credit").bounding_box()
    number = marked.get_by_text("600 credits", exact=True).bounding_box()
    assert mark
    assert number
    assert mark["y"] + mark["height"] <= number["y"], "the mark must not cover text"
    expect(tab.packages).not_to_contain_text("Suggested")


@pytest.mark.usefixtures("own_demo")
@pytest.mark.parametrize(("amount", "credits", "currency"), [(2500, 300, "usd"), (100, 600, "eur")])
def test_no_package_is_marked_without_unique_best_price(
    session: BrowserSession, demo_server: DemoServer, amount: int, credits: int, currency: str
) -> None:
    """Two packages have the same price per credit, or their currencies differ."""
    demo_server.call(
        demo_server.sandbox.create_price,
        product=demo_server.settings.stripe_topup_product_id,
        unit_amount=amount,
        currency=currency,
        credits=credits,
    )
    demo_server.subscribe()
    tab = session.open()
    expect(tab.packages.get_by_role("listitem")).to_have_count(4)
    expect(tab.packages).not_to_contain_text("Best price per credit")


@pytest.mark.usefixtures("own_demo")
@pytest.mark.parametrize(
    ("currency", "amount", "formatted"),
    [("ugx", 500000, "UGX 5,000"), ("isk", 50000, "ISK 500"), ("kwd", 5120, "KWD 5.120")],
)
def test_page_and_panel_use_decimals_of_currency(
    session: BrowserSession, demo_server: DemoServer, currency: str, amount: int, formatted: str
) -> None:
    price = demo_server.call(
        demo_server.sandbox.create_price,
        product=demo_server.settings.stripe_topup_product_id,
        unit_amount=amount,
        currency=currency,
        credits=40,
    )
    demo_server.subscribe()
    path = "/stripe/v1/topup/payment-intent"
    demo_server.pay(demo_server.request("POST", path, price_id=price["id"])["client_secret"])
    tab = session.open()
    formatted = formatted.replace(" ", "\N{NO-BREAK SPACE}")
    expect(tab.buy_button(40)).to_have_accessible_name(f"Buy 40 credits for {formatted}")
    expect(tab.rows).to_contain_text([formatted])
    panel = session.open(demo_server.environment.panel_url).page
    expect(panel.get_by_role("region", name="Payments")).to_contain_text(f"{formatted}, succeeded")


@pytest.mark.usefixtures("own_demo")
def test_yen_amounts_have_no_decimals(session: BrowserSession, demo_server: DemoServer) -> None:
    demo_server.call(
        demo_server.sandbox.create_price,
        product=demo_server.settings.stripe_topup_product_id,
        unit_amount=500,
        currency="jpy",
        credits=40,
    )
    demo_server.subscribe()
    tab = session.open()
    expect(tab.buy_button(40)).to_have_accessible_name("Buy 40 credits for ¥500")
    tab.choose(40)
    expect(tab.page.get_by_role("heading", name="Pay ¥500 for 40 credits")).to_be_visible()
    tab.pay()
    tab.expect_state("done")
    expect(tab.rows).to_contain_text(["¥500"])
    [charge] = [one for one in demo_server.list_own("/v1/charges") if one["currency"] == "jpy"]
    assert charge["amount"] == 500
