"""The check of URLs to which the sandbox sends events."""

from urllib.parse import urlsplit

from ..api.guards import is_loopback
from ..engine.errors import invalid


def check_url(url: str, *, remote: bool, param: str = "url") -> None:
    """Check that events may be sent to a URL.

    Args:
        url: the URL in a request.
        remote: whether it may be on another machine. If not, a client of the sandbox cannot make
            it POST to other hosts.
        param: the parameter with the URL.

    Raises:
        StripeError: the URL is not allowed.
    """
    if not url.startswith(("http://", "https://")):
        raise invalid("Invalid URL: An explicit scheme must be provided.", param=param)
    if remote:
        return
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        raise invalid("Invalid URL.", param=param) from None
    if not is_loopback(host):
        raise invalid(
            "The sandbox sends webhooks only to this machine. Use 127.0.0.1 or localhost in "
            "the URL, or start the sandbox with --remote-webhooks "
            "(Sandbox(remote_webhooks=True)).",
            param=param,
        )
