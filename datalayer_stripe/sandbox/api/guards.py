"""Checks of where a request comes from and which host a URL names."""

from ipaddress import ip_address

from tornado.httputil import HTTPServerRequest


def is_dns_rebinding(request: HTTPServerRequest) -> bool:
    """Return whether a request's host is a domain name other than `localhost`.

    With DNS rebinding, a website makes its own domain name resolve to this machine. The browser
    then takes the sandbox for that website's origin. Only the host name shows the attack.
    """
    if request.host_name == "localhost":
        return False
    try:
        ip_address(request.host_name.strip("[]"))
    except ValueError:
        return True
    return False


def is_loopback(host: str) -> bool:
    """Return whether a host name is `localhost` or a loopback address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_cross_site(request: HTTPServerRequest) -> bool:
    """Return whether a POST comes from a page of another origin, by its `Origin` header."""
    origin = request.headers.get("Origin")
    return origin not in (None, f"{request.protocol}://{request.host}")
