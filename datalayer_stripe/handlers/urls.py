"""The prefixes of the routes, and checks of URLs that clients send."""

from urllib.parse import urlsplit

from ..settings_checks import LOCAL_HOSTS

API_PREFIX = "/api/iam"
"""The prefix of all routes that clients and Stripe call."""

STRIPE_PREFIX = f"{API_PREFIX}/stripe/v1"
"""The prefix of the routes that buy credits and subscriptions, and of the webhook."""

IAM_PREFIX = f"{API_PREFIX}/v1"
"""The prefix of the routes that read and change the caller's account."""

WEBHOOK_PATH = f"{STRIPE_PREFIX}/webhook"
"""The path of the webhook, without the base URL of a Jupyter Server."""


def absolute_url(text: str) -> str:
    """Return `text`, which has to be an absolute http(s) URL without a user name.

    Raises:
        ValueError: if it is not one. The message does not repeat it.
    """
    printable = text.isascii() and text.isprintable() and " " not in text and "\\" not in text
    try:
        parts = urlsplit(text)
    except ValueError:  # its message holds the text
        printable = False
    if not printable or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("not an absolute http(s) URL")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL with a user name or password")
    return text


def origin_of(url: str) -> str:
    """The origin of an absolute URL, as browsers write it: scheme://host[:port], lower case."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def is_loopback(host: str) -> bool:
    """Return whether a Host header names this machine by a loopback address."""
    try:
        return urlsplit(f"//{host}").hostname in LOCAL_HOSTS
    except ValueError:  # an IPv6 address that is none
        return False
