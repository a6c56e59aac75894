"""What can be told of a setting's value by its looks alone. Nothing here repeats a value."""

import re
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

# To paste one kind of value for another is the commonest mistake: name what was pasted.
_KINDS = {
    "sk_": "a secret key",
    "rk_": "a restricted key",
    "pk_": "a publishable key",
    "whsec_": "a webhook signing secret",
    "we_": "the id of a webhook endpoint, not its signing secret",
    "prod_": "a product id",
    "price_": "a price id",
    "plan_": "a plan id",
    "bpc_": "the id of a billing portal configuration",
}
_ORIGIN = re.compile(r"https?://([a-zA-Z0-9.-]+|\[[0-9a-fA-F:]+\])(:\d{1,5})?")
# What conf/datalayer-stripe.env.example and the documents show in place of an operator's own value.
# Everybody knows them: with such a webhook secret, anybody could sign events.
_PLACEHOLDER = re.compile(
    r"(?:^|[_-])example(?:[_-]|$)|^whsec_(?:old|new)$|://user:password@|…", re.IGNORECASE
)
LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


def revealed(value: Any) -> Any:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def unquoted(value: Any) -> Any:
    text = revealed(value)
    if not isinstance(text, str):
        return value
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1].strip()
    return text


def is_live(key: str) -> bool:
    return "_live_" in key[:8]


def kind_problem(text: str, prefixes: tuple[str, ...]) -> str | None:
    """What is wrong with an id or key that starts with one of `prefixes`, if anything is.

    An empty prefix stands for ids that people choose themselves, as Stripe allows for products.
    """
    named = tuple(filter(None, prefixes))
    expected = " or ".join(named)
    for prefix, kind in _KINDS.items():
        if text.startswith(prefix) and not any(one.startswith(prefix) for one in named):
            return f"holds {kind}; the right value starts with {expected}"
    if not text.startswith(prefixes):
        return f"does not start with {expected}"
    rest = next(text.removeprefix(one) for one in prefixes if text.startswith(one))
    if not re.fullmatch(r"[A-Za-z0-9_+/=-]+", rest):
        return "is cut off, or holds a blank, a quote or another stray character"
    return None


def is_placeholder(text: str) -> bool:
    """Return whether `text` is what the example file or the documents show in its place."""
    return _PLACEHOLDER.search(text) is not None


def is_origin(text: str) -> bool:
    """Whether it is scheme://host[:port], as a browser's Origin header has it."""
    return _ORIGIN.fullmatch(text) is not None


def check_url(text: str, schemes: tuple[str, ...], *, local_http: bool = False) -> None:
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:  # its text holds the value
        raise ValueError("is not a URL") from None
    if not host or re.search(r"\s", text):
        raise ValueError("is not a URL")
    if parts.username is not None or parts.password is not None:
        raise ValueError("holds a user name or a password, and this value is no secret")
    if local_http and host in LOCAL_HOSTS:
        schemes = (*schemes, "http")
    if parts.scheme not in schemes:
        raise ValueError(f"is not an {schemes[0]} URL")
