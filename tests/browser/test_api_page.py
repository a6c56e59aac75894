"""The page that shows the HTTP API, in a browser, under its content security policy."""

from playwright.sync_api import expect

from tests.browser.browser_session import BrowserSession
from tests.browser.demo_server import DemoServer
from tests.support.shop import IAM_ROUTES, STRIPE_ROUTES


def test_page_shows_the_routes_and_sends_requests(
    session: BrowserSession, demo_server: DemoServer
) -> None:
    page = session.context.new_page()
    page.goto(f"{demo_server.url}{STRIPE_ROUTES}/docs")
    routes = page.locator(".opblock")
    document = page.request.get(f"{demo_server.url}{STRIPE_ROUTES}/openapi.json").json()
    expect(routes).to_have_count(sum(map(len, document["paths"].values())))
    ping = routes.filter(has=page.locator(f'[data-path="{IAM_ROUTES}/ping"]'))
    ping.get_by_role("button", name="ping").first.click()
    ping.get_by_role("button", name="Try it out").click()
    ping.get_by_role("button", name="Execute").click()
    expect(ping.locator(".live-responses-table")).to_contain_text('"pong"')
