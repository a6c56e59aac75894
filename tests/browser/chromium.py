"""Launch the installed Chromium or Chrome. Nothing is downloaded."""

import os
import shutil

from playwright.sync_api import Browser, BrowserType

from tests.support.missing import skip_or_fail

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS = (
    "--disable-gpu",
    "--disable-quic",
    # Resolve no other host than this machine, so that pages cannot reach the network.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def find_chromium() -> str | None:
    """Return the path of the program in `CHROMIUM`, or of the first known one on PATH."""
    names = [os.environ["CHROMIUM"]] if os.environ.get("CHROMIUM") else _NAMES
    return next(filter(None, map(shutil.which, names)), None)


def launch(browser_type: BrowserType) -> Browser:
    """Start the browser. Without one, skip the test, or fail it in continuous integration."""
    program = find_chromium()
    if program is None:
        skip_or_fail(
            "no browser found. Install chromium (Debian: apt install chromium fonts-liberation) or "
            "Google Chrome, or set CHROMIUM to its path"
        )
    return browser_type.launch(executable_path=program, args=_ARGUMENTS)
