"""Fixtures for the browser, the demo, and browser contexts whose pages are monitored."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.browser_session import BrowserSession
from tests.browser.chromium import launch
from tests.browser.demo_server import DemoServer, RunningDemo, running_demo

# Long enough for a busy machine: only a broken page takes longer.
_EXPECT_TIMEOUT_MS = 60_000
_FAILED = pytest.StashKey[bool]()

expect.set_options(timeout=_EXPECT_TIMEOUT_MS)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """One browser process.

    It is not session-scoped, because Playwright's running event loop would disturb the tests of
    other packages.
    """
    with sync_playwright() as playwright:
        browser = launch(playwright.chromium)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def shared_demo(chromium: Browser) -> Iterator[RunningDemo]:
    """One demo for all tests that use an account of their own, because a start takes long."""
    with running_demo() as demo:
        yield demo


@pytest.fixture
def own_demo() -> None:
    """Request this fixture to give a test its own demo.

    A test needs it if it reads or changes what the accounts of the shared demo have in common,
    such as prices, the clock or the panel.
    """


@pytest.fixture
def demo_server(request: pytest.FixtureRequest, chromium: Browser) -> Iterator[DemoServer]:
    """A demo and an unused account in it.

    It is the shared demo, or one of its own for tests with `own_demo` or the marker `mongod`. The
    latter runs on a real MongoDB.
    """
    needs_mongod = request.node.get_closest_marker("mongod")
    if needs_mongod or "own_demo" in request.fixturenames:
        url = request.getfixturevalue("mongodb_url") if needs_mongod else "memory://"
        with running_demo(url) as demo:
            yield DemoServer(demo)
        return
    shared: RunningDemo = request.getfixturevalue("shared_demo")
    yield DemoServer(shared, shared.new_account())
    shared.reset()


@pytest.fixture
def new_session(
    request: pytest.FixtureRequest, chromium: Browser, demo_server: DemoServer
) -> Iterator[Callable[..., BrowserSession]]:
    """Create browser contexts. The options are those of `BrowserSession`."""
    sessions: list[BrowserSession] = []

    def create(**options: Any) -> BrowserSession:
        sessions.append(BrowserSession(chromium, demo_server, **options))
        return sessions[-1]

    yield create
    failed = request.node.stash.get(_FAILED, False)
    errors: list[str] = []
    for number, session in enumerate(sessions):
        if failed:
            session.save_screenshots(f"failed-{request.node.name}-{number}")
        errors += session.close()
    if errors:
        pytest.fail("\n".join(errors), pytrace=False)


@pytest.fixture
def session(new_session: Callable[..., BrowserSession]) -> BrowserSession:
    """A browser context that is signed in as the test's account."""
    return new_session()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Store whether the test failed, for `new_session`."""
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report


@pytest.fixture(scope="session")
def build_folder() -> Path:
    """The folder for files that tests create and people read."""
    folder = Path(__file__).parents[2] / "build"
    folder.mkdir(exist_ok=True)
    return folder
