"""The page of a Jupyter Server, for who is signed in there: no token is in the browser."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from datalayer_stripe.settings import Settings
from datalayer_stripe.settings_checks import revealed
from tests.browser.demo_server import Town
from tests.browser.visitor import Visitor
from tests.support.jupyter import BASE_URL, TOKEN, WEBHOOK, JupyterServer


def variables_of(settings: Settings) -> dict[str, str]:
    """Those that make the same settings, but for the bearer tokens' secret."""
    values = settings.model_dump(exclude={"jwt_secret"}, exclude_none=True, exclude_defaults=True)
    fields = Settings.model_fields
    return {
        str(fields[name].validation_alias): (
            ",".join(map(revealed, value)) if isinstance(value, tuple) else str(revealed(value))
        )
        for name, value in values.items()
    }


@pytest.fixture
def server(town: Town, tmp_path: Path) -> Iterator[JupyterServer]:
    with JupyterServer(tmp_path, variables_of(town.settings)) as server:
        [secret] = town.settings.stripe_webhook_secrets
        endpoint = f"{server.url}{BASE_URL.rstrip('/')}{WEBHOOK}"
        secret = revealed(secret)
        town.call(town.sandbox.create_webhook_endpoint, endpoint, secret=secret)
        yield server.wait_until_open()


def test_who_is_signed_in_at_jupyter_buys_credits(
    server: JupyterServer, new_visitor: Callable[..., Visitor]
) -> None:
    visitor = new_visitor(token=None)
    tab = visitor.open(f"{server.url}{BASE_URL}checkout?token={TOKEN}")
    tab.expect_view("ready")
    tab.expect_balance(0)
    tab.subscribe()
    tab.buy(220)
    tab.expect_balance(220)
    tab.page.goto(f"{server.url}{BASE_URL}checkout")
    tab.expect_balance(220)
    expect(tab.rows).to_have_count(1)


def test_who_is_not_comes_to_jupyter_s_login_and_back(
    server: JupyterServer, new_visitor: Callable[..., Visitor]
) -> None:
    tab = new_visitor(token=None).open(f"{server.url}{BASE_URL}checkout")
    tab.page.get_by_label("Password or token").fill(TOKEN)
    tab.page.get_by_role("button", name="Log in", exact=True).click()
    tab.expect_view("ready")


def test_a_session_that_has_ended_is_said(
    server: JupyterServer, new_visitor: Callable[..., Visitor]
) -> None:
    visitor = new_visitor(token=None)
    visitor.watch.allow_status(401)
    tab = visitor.open(f"{server.url}{BASE_URL}checkout?token={TOKEN}")
    tab.expect_view("ready")
    visitor.context.clear_cookies()
    tab.subscribe_button.click()
    tab.expect_view("sign-in")
    tab.page.get_by_role("link", name="Sign in").click()
    expect(tab.page).to_have_url(f"{server.url}{BASE_URL}login?next=%2Fuser%2Fx%2Fcheckout")
