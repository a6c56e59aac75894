"""A browser, the service with its local Stripe, and visitors whose every page is watched."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.chromium import launch
from tests.browser.demo_server import Town, open_town
from tests.browser.visitor import Visitor

# Only a page that is broken takes as long as this, even on a busy machine.
_PATIENCE_MS = 60_000
_FAILED = pytest.StashKey[bool]()

expect.set_options(timeout=_PATIENCE_MS)


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """One browser process. Not of the session: Playwright's loop would be in the way of others."""
    with sync_playwright() as playwright:
        browser = launch(playwright.chromium)
        yield browser
        browser.close()


@pytest.fixture
def town(request: pytest.FixtureRequest, chromium: Browser) -> Iterator[Town]:
    """The service and its local Stripe; on a real MongoDB with the marker `mongod`."""
    url = "memory://"
    if request.node.get_closest_marker("mongod"):
        url = request.getfixturevalue("mongodb_url")
    with open_town(url) as town:
        yield town


@pytest.fixture
def new_visitor(
    request: pytest.FixtureRequest, chromium: Browser, town: Town
) -> Iterator[Callable[..., Visitor]]:
    """Make visitors, each in a browser context of its own: options as for `Visitor`."""
    visitors: list[Visitor] = []

    def make(**options: Any) -> Visitor:
        visitors.append(Visitor(chromium, town, **options))
        return visitors[-1]

    yield make
    failed = request.node.stash.get(_FAILED, False)
    faults: list[str] = []
    for number, visitor in enumerate(visitors):
        if failed:
            visitor.keep_screenshots(f"failed-{request.node.name}-{number}")
        faults += visitor.leave()
    if faults:
        pytest.fail("\n".join(faults), pytrace=False)


@pytest.fixture
def visitor(new_visitor: Callable[..., Visitor]) -> Visitor:
    """Somebody who is signed in as the demo's account."""
    return new_visitor()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Let `new_visitor` know that a test has failed."""
    report = yield
    if report.failed:
        item.stash[_FAILED] = True
    return report


@pytest.fixture(scope="session")
def built() -> Path:
    """Where what the tests have made is kept, for people to look at."""
    folder = Path(__file__).parents[2] / "build"
    folder.mkdir(exist_ok=True)
    return folder
