"""Which requests and which addresses the sandbox trusts."""

from ipaddress import ip_address

from tornado.httputil import HTTPServerRequest


def is_rebound(request: HTTPServerRequest) -> bool:
    """Whether a request names the sandbox by a domain name other than `localhost`.

    A page whose name its owner lets point here (DNS rebinding) is of the sandbox's own origin to
    the browser; its name is what gives it away.
    """
    if request.host_name == "localhost":
        return False
    try:
        ip_address(request.host_name.strip("[]"))
    except ValueError:
        return True
    return False


def is_loopback(host: str) -> bool:
    """Return whether a host name of a URL is this machine: `localhost` or a loopback address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_cross_site(request: HTTPServerRequest) -> bool:
    """Whether a form comes from a page of another origin: browsers name the origin of a POST."""
    origin = request.headers.get("Origin")
    return origin not in (None, f"{request.protocol}://{request.host}")
