"""What no page may do, whatever the test is about."""

import re
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Request, WebError

# Chromium reports most violations to the console by itself; this one catches all of them, in
# frames too.
_REPORT_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) => {
  console.error(`CSP: ${event.effectiveDirective} forbids ${event.blockedURI} on ${document.URL}`);
});
"""
_LIVING_ON = ("data", "blob", "about")
_CLIENT_SECRET = re.compile(r"(pi|seti)_\w+_secret_\w+")


class Watch:
    """Collects the faults of all pages of a browser context, frames and popups included.

    A fault is an uncaught error, an error in the console, a violation of a content security
    policy, a request that leaves this machine, or a secret where others may read it.
    """

    def __init__(self, context: BrowserContext, service_url: str) -> None:
        self._service_url = service_url
        self._faults: list[str] = []
        self._allowed: list[str] = []
        self._secrets: list[str] = []
        context.add_init_script(_REPORT_VIOLATIONS)
        context.on("console", self._on_console)
        context.on("weberror", self._on_error)
        context.on("request", self._on_request)

    def allow(self, *patterns: str) -> None:
        """Take faults whose text matches one of these regular expressions for expected."""
        self._allowed.extend(patterns)

    def allow_status(self, *statuses: int) -> None:
        """Take answers of these statuses for expected; the console reports each as an error."""
        self.allow(*(f"the server responded with a status of {status} " for status in statuses))

    def keep_secret(self, text: str) -> None:
        """Count `text` as a secret."""
        self._secrets.append(text)

    @property
    def faults(self) -> list[str]:
        """The unexpected faults, in order."""
        return [
            fault
            for fault in self._faults
            if not any(re.search(pattern, fault) for pattern in self._allowed)
        ]

    def shows_secret(self, text: str) -> bool:
        """Whether a bearer token or a client secret is in `text`."""
        return bool(_CLIENT_SECRET.search(text)) or any(one in text for one in self._secrets)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._faults.append(f"console: {message.text} ({message.location.get('url', '')})")
        if self.shows_secret(message.text):
            self._faults.append(f"a secret in the console: {message.text}")

    def _on_error(self, error: WebError) -> None:
        self._faults.append(f"uncaught: {error.error}")

    def _on_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in _LIVING_ON and parts.hostname != "127.0.0.1":
            self._faults.append(f"a request to elsewhere: {request.url}")
        if request.url.startswith(self._service_url) and self.shows_secret(request.url):
            self._faults.append(f"a secret in a URL: {request.url}")
