"""Addresses that clients give us."""

from urllib.parse import urlsplit

from ..settings_checks import LOCAL_HOSTS


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
