"""Find the IP address of the client of a request, behind proxies that the operator trusts."""

from collections.abc import Sequence
from ipaddress import ip_address

from tornado.httputil import HTTPServerRequest

from ..settings_checks import Network


def client_address(request: HTTPServerRequest, trusted: Sequence[Network]) -> str:
    """Return the IP address of the client.

    Each proxy appends the address that it was called from to `X-Forwarded-For`, and everybody can
    send that header. So it is read from its end, as long as the address that has written an entry
    is one of a trusted proxy. Without trusted proxies the header is ignored.

    Args:
        request: The request.
        trusted: The networks of trusted proxies.
    """
    address = str(request.remote_ip)
    if not trusted:
        return address
    entries = ",".join(request.headers.get_list("X-Forwarded-For")).split(",")
    while entries and _is_in(address, trusted):
        entry = entries.pop().strip()
        try:
            address = str(ip_address(entry))
        except ValueError:  # no entry is left, or it is no address
            break
    return address


def _is_in(address: str, networks: Sequence[Network]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:  # the address of a Unix socket
        return False
    # A socket for IPv6 shows clients that use IPv4 as ::ffff:192.0.2.1.
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    return any(parsed in network for network in networks)
