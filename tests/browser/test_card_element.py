"""Test a payment with Stripe's card element on another origin, as in Datalayer's UI."""

from pathlib import Path

from playwright.sync_api import expect

from tests.browser.browser_session import BrowserSession
from tests.browser.checkout import DECLINED_CARD, VALID_CARD
from tests.browser.demo_server import DemoServer

UI = Path(__file__).parents[1] / "data" / "card_element"


def test_card_element_on_another_origin_pays(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    session.monitor.allow_status(402)
    demo_server.subscribe()
    page = session.context.new_page()
    page.goto(f"{demo_server.serve(UI)}/index.html")
    page.evaluate(
        "async (purchase) => (await import('/pay.js')).offer(purchase)",
        {
            "api": f"{demo_server.url}/api/iam",
            "token": demo_server.token(),
            "priceId": demo_server.packages[0],
            "stripeJs": demo_server.settings.stripe_js_url,
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

    number.fill(VALID_CARD)
    page.get_by_role("button", name="Pay").click()
    expect(result).to_have_text("succeeded")
    demo_server.settle()
    assert demo_server.credits() == 50
    [charge] = demo_server.charges(500)
    assert charge["billing_details"]["name"] == "Ada"
