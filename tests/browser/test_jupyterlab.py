"""Test the JupyterLab extension in a real JupyterLab: the card, the balance and the themes."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, Request, expect

from datalayer_stripe.jupyter.lab import CHECKOUT_URL_OPTION
from tests.browser.accessibility import serious_violations
from tests.browser.browser_session import BrowserSession
from tests.browser.demo_server import DemoServer, running_demo
from tests.browser.jupyter_demo import running_jupyter
from tests.browser.jupyterlab import DARK, LIGHT, JupyterLab, open_lab
from tests.support.jupyter import BASE_URL, JupyterServer

CREDITS_ROUTE = "**/api/iam/v1/usage/credits?*"

# Before JupyterLab reads its configuration.
_REMOVE_OPTION = f"""
document.addEventListener("readystatechange", () => {{
  const config = document.getElementById("jupyter-config-data");
  if (config) config.textContent = config.textContent.replace("{CHECKOUT_URL_OPTION}", "other");
}});
"""
# What `window.open` returns: null if the two pages cannot reach each other.
_KEEP_OPENED = """
() => {
  const open = window.open;
  window.open = (...args) => (window.opened = open.apply(window, args));
}
"""
BALANCE = re.compile(r"^\d+ credits$")


@pytest.fixture(scope="module")
def jupyter_demo(chromium: Browser) -> Iterator[DemoServer]:
    with running_demo() as demo:
        yield DemoServer(demo)


@pytest.fixture(scope="module")
def server(
    jupyter_demo: DemoServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[JupyterServer]:
    folder = tmp_path_factory.mktemp("jupyterlab")
    with running_jupyter(jupyter_demo, folder, lab=True) as server:
        yield server


@pytest.fixture(scope="module")
def session(
    chromium: Browser, jupyter_demo: DemoServer, server: JupyterServer
) -> Iterator[BrowserSession]:
    session = BrowserSession(chromium, jupyter_demo, token=None, url=server.url)
    session.monitor.allow_status(401, 403, 502, 503)
    yield session
    errors = session.close()
    if errors:
        pytest.fail("\n".join(errors), pytrace=False)


@pytest.fixture(scope="module")
def lab(session: BrowserSession, server: JupyterServer) -> JupyterLab:
    """JupyterLab, which all tests use one after another, because it starts slowly."""
    return open_lab(session, server)


def test_card_opens_the_checkout_page_in_a_tab_that_cannot_reach_jupyterlab(
    lab: JupyterLab, server: JupyterServer
) -> None:
    lab.page.evaluate(_KEEP_OPENED)
    tab = lab.open_checkout(lab.card)
    tab.expect_view("ready")
    assert tab.page.url == f"{server.url}{BASE_URL}checkout"
    assert lab.page.evaluate("window.opened") is None
    tab.page.close()


def test_balance_opens_the_checkout_page_and_changes_after_a_purchase(lab: JupyterLab) -> None:
    expect(lab.status).to_have_text("0 credits")
    tab = lab.open_checkout(lab.status)
    tab.subscribe()
    tab.buy(50)
    tab.page.close()
    lab.page.bring_to_front()
    expect(lab.status).to_have_text("50 credits")


def test_palette_has_the_command(lab: JupyterLab) -> None:
    lab.execute("apputils:activate-command-palette")
    lab.page.get_by_role("combobox", name="Command Palette").or_(
        lab.page.locator(".lm-CommandPalette-input")
    ).first.fill("Buy credits")
    command = lab.page.locator(".lm-CommandPalette-item", has_text="Buy credits")
    tab = lab.open_checkout(command)
    tab.expect_view("ready")
    tab.page.close()


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_card_and_balance_are_readable_in_theme(lab: JupyterLab, theme: str) -> None:
    lab.use_theme(theme)
    found = [line for line in serious_violations(lab.page) if "datalayer-stripe" in line]
    assert found == []
    lab.use_theme(LIGHT)


@contextmanager
def answered(lab: JupyterLab, status: int, body: dict[str, Any] | str) -> Iterator[None]:
    """Answer the requests for the balance with `status` and `body`."""
    text = body if isinstance(body, str) else json.dumps(body)
    lab.page.route(CREDITS_ROUTE, lambda route: route.fulfill(status=status, body=text))
    lab.refresh()
    yield
    lab.page.unroute(CREDITS_ROUTE)
    lab.refresh()
    expect(lab.status).to_have_text(BALANCE)


@pytest.mark.parametrize(
    ("status", "body", "text", "message"),
    [
        (503, {"code": "not_configured", "message": "No key."}, "Credits: not set up", "No key."),
        (503, {"code": "starting", "message": "It starts."}, "Credits: starting", "It starts."),
        (403, {"code": "forbidden", "message": "Not you."}, "Credits: no account", "Not you."),
        (503, {"code": "unavailable", "message": "No."}, "Credits: unavailable", "No."),
        (502, "<html>Bad gateway</html>", "Credits: unavailable", "status 502"),
    ],
)
def test_status_bar_and_dialog_say_why_credits_cannot_be_bought(
    lab: JupyterLab, status: int, body: dict[str, Any] | str, text: str, message: str
) -> None:
    with answered(lab, status, body):
        expect(lab.status).to_have_text(text)
        lab.status.click()
        expect(lab.dialog).to_contain_text(message)
        setup = lab.dialog.get_by_role("button", name="How to set it up")
        expect(setup).to_have_count(1 if text == "Credits: not set up" else 0)
        lab.dialog.get_by_role("button", name="Close").click()


def test_expired_session_leads_to_the_checkout_page_and_its_login(lab: JupyterLab) -> None:
    with answered(lab, 401, {"code": "unauthorized", "message": "Sign in."}):
        expect(lab.status).to_have_text("Credits: sign in")
        tab = lab.open_checkout(lab.status)
        tab.expect_view("ready")  # the session has not really expired
        tab.page.close()


class RequestCounter:
    """Count the requests for the balance on a page whose clock the test sets."""

    def __init__(self, lab: JupyterLab) -> None:
        self._page = lab.page
        self.begun = 0
        self._unanswered: set[Request] = set()
        lab.page.on("request", self._on_request)
        lab.page.on("requestfinished", self._on_ended)
        lab.page.on("requestfailed", self._on_ended)

    def _on_request(self, request: Request) -> None:
        if "/usage/credits" in request.url:
            self.begun += 1
            self._unanswered.add(request)

    def _on_ended(self, request: Request) -> None:
        self._unanswered.discard(request)

    def advance(self, seconds: int) -> None:
        """Let time pass in steps of 10 s, and wait for the answers after each."""
        for _ in range(seconds // 10):
            self._page.clock.fast_forward(10_000)
            self._page.evaluate("null")
            self._wait_for_answers()

    def _wait_for_answers(self) -> None:
        deadline = time.monotonic() + 60
        while self._unanswered:
            assert time.monotonic() < deadline, f"no answer: {self._unanswered}"
            self._page.wait_for_timeout(5)


def test_balance_is_polled_while_the_page_is_visible_and_less_after_errors(
    lab: JupyterLab,
) -> None:
    lab.page.clock.install()
    lab.refresh()
    counter = RequestCounter(lab)
    lab.page.clock.fast_forward(10_000)
    with lab.page.expect_response(CREDITS_ROUTE):
        lab.page.clock.fast_forward(10_000)
    with answered(lab, 503, {"code": "unavailable", "message": "No."}):
        expect(lab.status).to_have_text("Credits: unavailable")
        before = counter.begun
        counter.advance(400)
        assert counter.begun - before < 25  # 40 without a back-off
    lab.set_hidden(True)
    counter.advance(60)
    before = counter.begun
    counter.advance(600)
    # The clock stands still, so that the next poll is not due when the page is visible again.
    lab.page.clock.pause_at(datetime.now() + timedelta(days=1))
    lab.set_hidden(False)
    with lab.page.expect_response(CREDITS_ROUTE):
        lab.page.clock.fast_forward(1000)
    assert counter.begun == before + 1
    lab.page.clock.resume()


def test_extension_does_nothing_without_the_server_extension(
    lab: JupyterLab, session: BrowserSession, server: JupyterServer
) -> None:
    other = JupyterLab(session.context.new_page())
    other.page.add_init_script(_REMOVE_OPTION)
    counter = RequestCounter(other)
    other.open(server)
    expect(other.card).to_have_count(0)
    expect(other.status).to_have_count(0)
    assert counter.begun == 0
