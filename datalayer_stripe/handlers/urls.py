"""Prefixes of the routes, and checks of URLs that clients send."""

from urllib.parse import urlsplit

from ..settings_checks import LOCAL_HOSTS

API_PREFIX = "/api/iam"
"""Prefix of all routes that clients and Stripe call."""

STRIPE_PREFIX = f"{API_PREFIX}/stripe/v1"
"""Prefix of the routes that buy credits and subscriptions, and of the webhook."""

IAM_PREFIX = f"{API_PREFIX}/v1"
"""Prefix of the routes that read and change the caller's account."""

ADMIN_PREFIX = f"{STRIPE_PREFIX}/admin"
"""Path of the operator's page, and prefix of its routes."""

WEBHOOK_PATH = f"{STRIPE_PREFIX}/webhook"
"""Path of the webhook, without the base URL of a Jupyter Server."""


def absolute_url(text: str) -> str:
    """Check that `text` is an absolute http(s) URL without credentials.

    Args:
        text: What a client has sent.

    Returns:
        `text`, unchanged.

    Raises:
        ValueError: It is not such a URL. The message does not contain `text`.
    """
    printable = text.isascii() and text.isprintable() and " " not in text and "\\" not in text
    try:
        parts = urlsplit(text)
    except ValueError:  # its message contains the text
        printable = False
    if not printable or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("not an absolute http(s) URL")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL with a user name or password")
    return text


def origin_of(url: str) -> str:
    """Return the origin of an absolute URL as browsers write it: `scheme://host[:port]`.

    Args:
        url: An absolute URL.
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()


def is_loopback(host: str) -> bool:
    """Return whether a Host header is a loopback address of this machine.

    Args:
        host: The value of the header: a host name or address, with or without a port.
    """
    try:
        return urlsplit(f"//{host}").hostname in LOCAL_HOSTS
    except ValueError:  # an invalid IPv6 address
        return False
