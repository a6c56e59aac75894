"""Test the first sale in a browser, with the environment file that `setup` has written."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser

from datalayer_stripe.sandbox import Sandbox
from tests.browser.background import STEP_TIMEOUT, Background
from tests.browser.browser_session import BrowserSession
from tests.support.command import COMMAND, environment
from tests.support.ports import free_port


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Start an empty local Stripe."""
    background, sandbox = Background(), Sandbox()
    background.run(sandbox.start())
    yield sandbox
    background.run(sandbox.stop())
    background.close()


@pytest.fixture
def env_file(sandbox: Sandbox, tmp_path: Path) -> Path:
    """Set up the account for a service on a free port, and return the file."""
    path = tmp_path / "datalayer-stripe.env"
    offers = ("--package", "5.00:50", "--package", "20.00:220", "--plan", "29.00")
    variables = environment(
        DATALAYER_STRIPE_API_KEY=sandbox.secret_key,
        DATALAYER_STRIPE_JS_API_KEY=sandbox.publishable_key,
        DATALAYER_STRIPE_API_BASE=sandbox.url,
    )
    url = f"http://127.0.0.1:{free_port()}"
    subprocess.run(
        [COMMAND, "setup", *offers, "--url", url, "--yes", "--env-file", path],
        env=variables,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return path


def with_file(path: Path, command: str) -> list[str]:
    """Return the command line that runs `datalayer-stripe` with the variables of a file."""
    return ["bash", "-c", f"set -a; . {path}; set +a; exec {COMMAND} {command}"]


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + STEP_TIMEOUT
    while True:
        try:
            with urlopen(f"{url}/readyz", timeout=STEP_TIMEOUT):
                return
        except URLError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_first_sale_with_the_file_that_setup_has_written(
    chromium: Browser, sandbox: Sandbox, env_file: Path
) -> None:
    [endpoint] = sandbox.call("GET", "/v1/webhook_endpoints")["data"]
    url = endpoint["url"].partition("/api/")[0]
    plain: dict[str, Any] = {
        "PATH": os.environ["PATH"],
        "DATALAYER_STRIPE_JS_URL": f"{sandbox.url}/sandbox/stripe.js",
    }
    token = subprocess.check_output(with_file(env_file, "token alice"), env=plain, text=True)
    serve = f"serve --port {url.rpartition(':')[2]} --log-level error"
    with subprocess.Popen(with_file(env_file, serve), env=plain) as process:
        try:
            wait_until_ready(url)
            shop = SimpleNamespace(url=url, settings=SimpleNamespace(checkout_path="/checkout"))
            session = BrowserSession(chromium, cast("Any", shop), token=token.strip())
            tab = session.open()
            tab.expect_view("ready")
            tab.expect_balance(0)
            tab.subscribe()
            tab.buy(220)
            tab.expect_balance(220)
            assert session.close() == []
        finally:
            process.terminate()
    assert process.returncode == 0
