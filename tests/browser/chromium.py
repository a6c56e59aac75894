"""The browser of the machine: a Chromium or a Chrome that is installed, never a downloaded one."""

import os
import shutil

import pytest
from playwright.sync_api import Browser, BrowserType

from tests.support.mongod import must_have_mongod

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS = (
    "--disable-gpu",
    "--disable-quic",
    # Nothing but this machine can be reached, whatever a page asks for.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def find_chromium() -> str | None:
    """Return the program that `CHROMIUM` names, else the first one on PATH."""
    names = [os.environ["CHROMIUM"]] if os.environ.get("CHROMIUM") else _NAMES
    return next(filter(None, map(shutil.which, names)), None)


def launch(browser_type: BrowserType) -> Browser:
    """Start it, or skip the test where there is none; fail it in continuous integration."""
    program = find_chromium()
    if program is None:
        _do_without()
    return browser_type.launch(executable_path=program, args=_ARGUMENTS)


def _do_without() -> None:
    reason = (
        "needs a browser: install chromium (Debian: apt install chromium fonts-liberation) or "
        "Google Chrome, or set CHROMIUM to its path"
    )
    if must_have_mongod():
        pytest.fail(reason)
    pytest.skip(reason)
