"""From no plan to credits on the account, and what a purchase leaves behind."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.demo_server import Town
from tests.browser.visitor import Visitor


def test_packages_wait_for_a_plan(visitor: Visitor) -> None:
    tab = visitor.open()
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


def test_subscribe_and_buy(visitor: Visitor, town: Town) -> None:
    tab = visitor.open()
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
    assert town.credits() == 50
    assert len(town.charges(500)) == 1


def test_the_receipt_is_stripes(visitor: Visitor, town: Town) -> None:
    town.subscribe()
    tab = visitor.open()
    tab.buy(50)
    link = tab.history.get_by_role("link", name="Receipt for 50 credits")
    expect(link).to_have_attribute("rel", re.compile("noopener"))
    with visitor.context.expect_page() as opened:
        link.click()
    [charge] = town.charges(500)
    expect(opened.value).to_have_url(charge["receipt_url"])
    expect(opened.value.locator("body")).to_contain_text("$5.00")


def test_a_purchase_shows_in_another_tab(visitor: Visitor, town: Town) -> None:
    town.subscribe()
    watching, buying = visitor.open(), visitor.open()
    watching.expect_balance(0)
    buying.buy(220)
    watching.expect_balance(220)
    expect(watching.rows).to_have_count(1)


def test_no_secret_is_left_behind(visitor: Visitor, town: Town) -> None:
    town.subscribe()
    tab = visitor.open()
    tab.choose(50)
    stored = "JSON.stringify({...sessionStorage})"
    assert not visitor.watch.shows_secret(tab.page.evaluate(stored))
    assert not visitor.watch.shows_secret(tab.page.content())
    tab.pay()
    tab.expect_state("done")
    assert not visitor.watch.shows_secret(tab.page.evaluate(stored))
    assert not visitor.watch.shows_secret(tab.page.content())
    assert not visitor.watch.shows_secret(tab.page.evaluate("JSON.stringify(history.state)") or "")


def test_receipt_goes_when_it_is_no_longer_true(visitor: Visitor, town: Town) -> None:
    subscription = town.subscribe()
    tab = visitor.open()
    tab.buy(50)
    expect(tab.receipt).to_contain_text("50 credits added. Balance: 0 → 50.")
    [charge] = town.charges(500)
    town.call(town.sandbox.refund, charge["payment_intent"])
    tab.expect_balance(0)
    expect(tab.receipt).to_be_hidden()

    town.call(town.sandbox.cancel_subscription, subscription)
    tab.subscribe()
    expect(tab.receipt).to_contain_text("Your plan is active.")
    [running] = town.listed("/v1/subscriptions")
    town.call(town.sandbox.cancel_subscription, running["id"])
    expect(tab.receipt).to_be_hidden()


def test_best_price_per_credit_is_marked(visitor: Visitor, town: Town) -> None:
    town.subscribe()
    tab = visitor.open()
    cards = tab.packages.get_by_role("listitem")
    marked = cards.filter(has_text="Best price per credit")
    expect(marked).to_have_count(1)
    expect(marked).to_contain_text("600")
    mark = marked.get_by_text("Best price per credit").bounding_box()
    number = marked.get_by_text("600 credits", exact=True).bounding_box()
    assert mark
    assert number
    assert mark["y"] + mark["height"] <= number["y"], "the mark covers no text"
    expect(tab.packages).not_to_contain_text("Suggested")


@pytest.mark.parametrize(("amount", "credits", "currency"), [(2500, 300, "usd"), (100, 600, "eur")])
def test_no_package_is_marked_where_none_is_the_best(
    visitor: Visitor, town: Town, amount: int, credits: int, currency: str
) -> None:
    """Two have the same price per credit, or prices in two currencies cannot be compared."""
    town.call(
        town.sandbox.create_price,
        product=town.settings.stripe_topup_product_id,
        unit_amount=amount,
        currency=currency,
        credits=credits,
    )
    town.subscribe()
    tab = visitor.open()
    expect(tab.packages.get_by_role("listitem")).to_have_count(4)
    expect(tab.packages).not_to_contain_text("Best price per credit")


@pytest.mark.parametrize(
    ("currency", "amount", "written"),
    [("ugx", 500000, "UGX 5,000"), ("isk", 50000, "ISK 500"), ("kwd", 5120, "KWD 5.120")],
)
def test_amounts_have_the_decimals_of_their_currency_on_both_sides(
    visitor: Visitor, town: Town, currency: str, amount: int, written: str
) -> None:
    price = town.call(
        town.sandbox.create_price,
        product=town.settings.stripe_topup_product_id,
        unit_amount=amount,
        currency=currency,
        credits=40,
    )
    town.subscribe()
    path = "/stripe/v1/topup/payment-intent"
    town.pay(town.ask("POST", path, price_id=price["id"])["client_secret"])
    tab = visitor.open()
    written = written.replace(" ", "\N{NO-BREAK SPACE}")
    expect(tab.buy_button(40)).to_have_accessible_name(f"Buy 40 credits for {written}")
    expect(tab.rows).to_contain_text([written])
    panel = visitor.open(town.stage.panel_url).page
    expect(panel.get_by_role("region", name="Payments")).to_contain_text(f"{written}, succeeded")


def test_yen_have_no_cents(visitor: Visitor, town: Town) -> None:
    town.call(
        town.sandbox.create_price,
        product=town.settings.stripe_topup_product_id,
        unit_amount=500,
        currency="jpy",
        credits=40,
    )
    town.subscribe()
    tab = visitor.open()
    expect(tab.buy_button(40)).to_have_accessible_name("Buy 40 credits for ¥500")
    tab.choose(40)
    expect(tab.page.get_by_role("heading", name="Pay ¥500 for 40 credits")).to_be_visible()
    tab.pay()
    tab.expect_state("done")
    expect(tab.rows).to_contain_text(["¥500"])
    [charge] = [one for one in town.listed("/v1/charges") if one["currency"] == "jpy"]
    assert charge["amount"] == 500
