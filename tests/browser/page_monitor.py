"""Monitor for errors that no page may cause in any test."""

import re
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Request, WebError

# Chromium logs most violations to the console. This script logs all of them, also in frames.
_REPORT_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) => {
  console.error(`CSP: ${event.effectiveDirective} forbids ${event.blockedURI} on ${document.URL}`);
});
"""
_LOCAL_SCHEMES = ("data", "blob", "about")
_CLIENT_SECRET = re.compile(r"(pi|seti)_\w+_secret_\w+")


class PageMonitor:
    """Collects the errors of all pages of a browser context, with their frames and popups.

    These are uncaught errors, errors in the console, violations of a content security policy,
    requests to other machines, and secrets in the console or in URLs.
    """

    def __init__(self, context: BrowserContext, service_url: str) -> None:
        self._service_url = service_url
        self._errors: list[str] = []
        self._allowed: list[str] = []
        self._secrets: list[str] = []
        context.add_init_script(_REPORT_VIOLATIONS)
        context.on("console", self._on_console)
        context.on("weberror", self._on_error)
        context.on("request", self._on_request)

    def allow(self, *patterns: str) -> None:
        """Ignore errors whose text matches one of these regular expressions."""
        self._allowed.extend(patterns)

    def allow_status(self, *statuses: int) -> None:
        """Ignore responses with these statuses, which the console reports as errors."""
        self.allow(*(f"the server responded with a status of {status} " for status in statuses))

    def add_secret(self, text: str) -> None:
        """Treat `text` as a secret."""
        self._secrets.append(text)

    @property
    def errors(self) -> list[str]:
        """The errors that are not allowed, oldest first."""
        return [
            error
            for error in self._errors
            if not any(re.search(pattern, error) for pattern in self._allowed)
        ]

    def contains_secret(self, text: str) -> bool:
        """Return whether `text` contains a bearer token or a client secret."""
        return bool(_CLIENT_SECRET.search(text)) or any(secret in text for secret in self._secrets)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._errors.append(f"console: {message.text} ({message.location.get('url', '')})")
        if self.contains_secret(message.text):
            self._errors.append(f"secret in the console: {message.text}")

    def _on_error(self, error: WebError) -> None:
        self._errors.append(f"uncaught: {error.error}")

    def _on_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in _LOCAL_SCHEMES and parts.hostname != "127.0.0.1":
            self._errors.append(f"request to another machine: {request.url}")
        if request.url.startswith(self._service_url) and self.contains_secret(request.url):
            self._errors.append(f"secret in a URL: {request.url}")
