"""Checks of single values. Their messages never contain the value."""

import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_interface, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

Network = IPv4Network | IPv6Network

MAX_SIGNING_SECRETS = 16
"""Maximum number of signing secrets: that of an account's endpoints at Stripe,
https://docs.stripe.com/webhooks."""

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
"""The hosts that name this machine."""

STRIPE_JS_URL = "https://js.stripe.com/endive/stripe.js"
"""Stripe.js of our API version: https://docs.stripe.com/sdks/stripejs-versioning"""

# Pasting a value of another kind is the most common mistake, so the message names the kind.
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
_SECRET_PREFIXES = ("sk_", "rk_", "whsec_")
_ORIGIN = re.compile(r"https?://([a-zA-Z0-9.-]+|\[[0-9a-fA-F:]+\])(:\d{1,5})?")
_ADDRESS = re.compile(r"([a-zA-Z0-9._-]+|\[[0-9a-fA-F:]+\]):[0-9]{1,5}")
# The example values of the documents are public: with such a webhook secret, anybody could sign
# events.
_PLACEHOLDER = re.compile(
    r"(?:^|[_-])example(?:[_-]|$)|^whsec_(?:old|new)$|://user:password@|…", re.IGNORECASE
)
# The minimum is the size of the hash's output: https://www.rfc-editor.org/rfc/rfc7518#section-3.2
_MIN_JWT_SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
# Stripe's own secrets are `whsec_` and 32 characters; those of its command line are longer.
_MIN_WEBHOOK_SECRET_CHARS = len("whsec_") + 24


def revealed(value: Any) -> Any:
    """Return the text of a secret; any other value as it is."""
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def unquoted(value: Any) -> Any:
    """Return a text without the blanks and quotes around it; any other value as it is."""
    text = revealed(value)
    if not isinstance(text, str):
        return value
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1].strip()
    return text


def is_live(key: str) -> bool:
    """Return whether a key of Stripe is for live mode."""
    return "_live_" in key[:8]


def is_placeholder(text: str) -> bool:
    """Return whether a text is an example value of the documents."""
    return _PLACEHOLDER.search(text) is not None


def is_too_short_webhook_secret(text: str) -> bool:
    """Return whether a webhook secret is shorter than any of Stripe's, and could be guessed."""
    return len(text) < _MIN_WEBHOOK_SECRET_CHARS


def prefix_check(*prefixes: str) -> Callable[[Any], Any]:
    """Return a validator of ids, keys or secrets that begin with one of the prefixes.

    Args:
        prefixes: The prefixes. An empty one accepts ids that people choose themselves, as Stripe
            allows for products.
    """

    def check(value: Any) -> Any:
        texts = [revealed(item) for item in (value if isinstance(value, tuple) else (value,))]
        for number, text in enumerate(texts, start=1):
            if problem := _prefix_problem(text, prefixes):
                raise ValueError(f"{problem} (value {number})" if len(texts) > 1 else problem)
        return value

    return check


def check_number_of_secrets(value: Any) -> Any:
    """Raise ValueError if there are more signing secrets than endpoints can have.

    The body of each delivery, also of one that is not signed, is hashed once for each secret.
    """
    if len(value) > MAX_SIGNING_SECRETS:
        raise ValueError(f"has {len(value)} secrets, and {MAX_SIGNING_SECRETS} are the maximum")
    return value


def _prefix_problem(text: str, prefixes: tuple[str, ...]) -> str | None:
    named = tuple(filter(None, prefixes))
    expected = " or ".join(named)
    for prefix, kind in _KINDS.items():
        if text.startswith(prefix) and not any(one.startswith(prefix) for one in named):
            return f"holds {kind}; the right value starts with {expected}"
    if not text.startswith(prefixes):
        return f"does not start with {expected}"
    rest = next(text.removeprefix(one) for one in prefixes if text.startswith(one))
    if not re.fullmatch(r"[A-Za-z0-9_+/=-]+", rest):
        return "is cut off, or contains a blank, a quote or another unexpected character"
    return None


def refuse_secret(value: Any) -> Any:
    """Raise ValueError if a value that is not secret holds a secret of Stripe.

    Such a value is shown to clients or in messages.
    """
    for text in value if isinstance(value, tuple) else (value,):
        if isinstance(text, str) and text.startswith(_SECRET_PREFIXES):
            raise ValueError("holds a secret of Stripe, and this value is not secret")
    return value


def check_mongodb_url(value: SecretStr) -> SecretStr:
    """Raise ValueError unless the value is the URL of a MongoDB, or memory://."""
    if not re.fullmatch(r"memory://\w*|mongodb(\+srv)?://[^\s/]\S*", revealed(value)):
        raise ValueError("is not a mongodb://, mongodb+srv:// or memory:// URL")
    return value


def check_interval(seconds: int) -> int:
    """Raise ValueError unless the value is 0 or at least 60 seconds."""
    if 0 < seconds < 60:
        raise ValueError("is less than 60 seconds")
    return seconds


def check_folder(path: Path | None) -> Path | None:
    """Raise ValueError unless the value is None or an existing folder."""
    try:
        is_folder = path is None or path.is_dir()
    except OSError as error:  # such as a parent folder that may not be searched
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if not is_folder:
        raise ValueError("is not an existing folder")
    return path


def check_route(text: str) -> str:
    """Raise ValueError unless the value is a path such as `checkout`, or an http(s) URL."""
    if re.match(r"https?://", text):
        check_url(text, ("https", "http"))
    elif not re.fullmatch(r"/?[\w.~-]+(/[\w.~-]+)*/?", text, re.ASCII) or ".." in text:
        raise ValueError("is neither a plain path nor an http(s) URL")
    return text


def check_portal_url(text: str) -> str:
    """Raise ValueError unless the value is an https URL, or an http URL on this machine."""
    check_url(text, ("https",), local_http=True)
    return text


def check_api_base(text: str | None) -> str | None:
    """Raise ValueError unless the value is None or an http(s) URL; remove a slash at its end."""
    if text is None:
        return None
    check_url(text, ("https", "http"))
    return text.rstrip("/")


def check_http_url(text: str) -> str:
    """Raise ValueError unless the value is an http(s) URL."""
    check_url(text, ("https", "http"))
    return text


def check_sign_in_url(text: str | None) -> str | None:
    """Raise ValueError unless the value is None, a path from / on, or an http(s) URL."""
    if text is not None and not re.fullmatch(r"/(?!/)[\w.~/-]*", text, re.ASCII):
        check_url(text, ("https", "http"))
    return text


def host_and_port(text: str) -> tuple[str, int]:
    """Return the parts of `host:port`, such as `127.0.0.1:9464` or `[::1]:9464`.

    Raises:
        ValueError: It is no such text. The message does not contain it.
    """
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:  # its message contains the value
        host, port = None, None
    if not host or port is None or not _ADDRESS.fullmatch(text):
        raise ValueError("is not host:port")
    return host, port


def check_address(text: str | None) -> str | None:
    """Raise ValueError unless the value is None, or `host:port`."""
    if text is not None:
        host_and_port(text)
    return text


def networks(value: Any) -> Any:
    """Return IP addresses and networks in CIDR notation as networks.

    Args:
        value: A tuple or list of texts. Anything else is left to pydantic.

    Raises:
        ValueError: An item is no address or network, has host bits, or contains all addresses.
    """
    if not isinstance(value, tuple | list):
        return value
    return tuple(_network(str(text), number) for number, text in enumerate(value, start=1))


def _network(text: str, number: int) -> Network:
    try:
        network = ip_network(text, strict=False)
    except ValueError:  # its message contains the value
        raise ValueError(f"is not an IP address or network (value {number})") from None
    if network.prefixlen == 0:
        raise ValueError(f"is every address, so that everybody could forge it (value {number})")
    if ip_interface(text).ip != network.network_address:
        raise ValueError(f"has host bits that are not 0: write {network} (value {number})")
    return network


def check_origins(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Raise ValueError unless the value is * alone, or origins; convert them to lower case."""
    if texts == ("*",):
        return texts
    if "*" in texts:
        raise ValueError("has both * and origins: set one or the other")
    for number, text in enumerate(texts, start=1):
        if not _ORIGIN.fullmatch(text):
            raise ValueError(f"is not scheme://host[:port], without a path (value {number})")
    return tuple(text.lower() for text in texts)


def check_jwt_secret(value: SecretStr, algorithm: str) -> None:
    """Raise ValueError if the secret is shorter than the algorithm requires."""
    minimum = _MIN_JWT_SECRET_BYTES[algorithm]
    if len(revealed(value).encode()) < minimum:
        raise ValueError(
            f"is shorter than the {minimum} bytes that {algorithm} requires (RFC 7518 §3.2)"
        )


def check_url(text: str, schemes: tuple[str, ...], *, local_http: bool = False) -> None:
    """Raise ValueError unless the text is a URL without a user name.

    Args:
        text: The text.
        schemes: The accepted schemes; the first one is named in the message.
        local_http: Whether http is accepted, too, if the host is this machine.

    Raises:
        ValueError: It is not such a URL. The message does not contain it.
    """
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:  # its message contains the value
        raise ValueError("is not a URL") from None
    if not host or re.search(r"\s", text):
        raise ValueError("is not a URL")
    if parts.username is not None or parts.password is not None:
        raise ValueError("contains a user name or a password, and this value is not secret")
    if local_http and host in LOCAL_HOSTS:
        schemes = (*schemes, "http")
    if parts.scheme not in schemes:
        raise ValueError(f"is not an {schemes[0]} URL")
