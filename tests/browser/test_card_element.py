"""A UI of another origin pays with Stripe's card element, as Datalayer's does."""

from pathlib import Path

from playwright.sync_api import expect

from tests.browser.checkout import DECLINED_CARD, GOOD_CARD
from tests.browser.demo_server import Town
from tests.browser.visitor import Visitor

UI = Path(__file__).parents[1] / "data" / "card_element"


def test_a_card_element_of_another_origin(visitor: Visitor, town: Town) -> None:
    visitor.watch.allow_status(402)
    town.subscribe()
    page = visitor.context.new_page()
    page.goto(f"{town.serve(UI)}/index.html")
    page.evaluate(
        "async (purchase) => (await import('/pay.js')).offer(purchase)",
        {
            "api": f"{town.url}/api/iam",
            "token": town.token(),
            "priceId": town.packages[0],
            "stripeJs": town.settings.stripe_js_url,
        },
    )
    frame = page.frame_locator('iframe[title="Secure card payment input frame"]')
    number = frame.get_by_label("Credit or debit card number")
    frame.get_by_label("Credit or debit card expiration date").fill("12/40")
    frame.get_by_label("Credit or debit card CVC/CVV").fill("123")
    result = page.locator("#result")

    number.fill(DECLINED_CARD)
    page.get_by_role("button", name="Pay").click()
    expect(result).to_have_text("Your card was declined.")

    number.fill(GOOD_CARD)
    page.get_by_role("button", name="Pay").click()
    expect(result).to_have_text("succeeded")
    town.settle()
    assert town.credits() == 50
    [charge] = town.charges(500)
    assert charge["billing_details"]["name"] == "Ada"
