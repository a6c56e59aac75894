"""Find out why a MongoDB cannot be used, by asking each of its hosts by itself.

The driver looks for a primary that can be used, and says little about what it has met on the way.
No message here repeats the URL, which may hold a password.
"""

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo.errors import ConfigurationError, OperationFailure, PyMongoError

from ..settings import variable

VARIABLE = variable("stripe_mongodb_url")

# For each step with one host; all hosts are asked at once.
_PROBE_SECONDS = 3.0
_MAX_HOSTS = 7
_DEFAULT_PORT = 27017

_AUTHENTICATION_FAILED = 18
_UNAUTHORIZED = 13

_STANDALONE = """\
this mongod stands alone, and credits are kept with transactions, which need a replica set. One \
node is enough: start it with `mongod --replSet rs0`, run `rs.initiate()` once in mongosh, and \
start this service again."""


def is_standalone(hello: Mapping[str, Any]) -> bool:
    """Return whether a server's `hello` is neither a replica set's member's nor a router's."""
    return "setName" not in hello and hello.get("msg") != "isdbgrid"


def hosts_of(parsed: Mapping[str, Any]) -> str:
    """Return `host:port` of each host of a URL, with commas between."""
    return ",".join(f"{host}:{port or _DEFAULT_PORT}" for host, port in parsed["nodelist"])


def standalone_message(parsed: Mapping[str, Any]) -> str:
    return f"{VARIABLE}: {hosts_of(parsed)}: {_STANDALONE}"


async def explain(url: str, parsed: Mapping[str, Any] | None, error: Exception) -> str:
    """Return what is in the way and what to do, as one line for the operator.

    Args:
        url: the URL, of which only the host is repeated.
        parsed: what the driver has read from it, or None where it could not.
        error: what the driver raised.
    """
    if isinstance(error, OSError):
        return f"{VARIABLE}: a file that the URL names cannot be read. Check its tls… options."
    if parsed is None:
        return f"{VARIABLE}: {_unreadable(url, error)}"
    if isinstance(error, OperationFailure) and (refusal := _refusal(error, parsed)):
        return f"{VARIABLE}: {hosts_of(parsed)}: {refusal}"
    wanted = parsed["options"].get("replicaSet")
    tls = {name: value for name, value in parsed["options"].items() if _is_tls(name)}
    probes = [
        _Probe(host, port or _DEFAULT_PORT, tls) for host, port in parsed["nodelist"][:_MAX_HOSTS]
    ]
    findings = await asyncio.gather(*(probe.finding(wanted) for probe in probes))
    told = " ".join(f"{probe.name}: {what}" for probe, what in zip(probes, findings, strict=True))
    return f"{VARIABLE}: the database cannot be used ({type(error).__name__}). {told}"


def _is_tls(option: str) -> bool:
    return option.lower().startswith(("tls", "ssl"))


def _unreadable(url: str, error: Exception) -> str:
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None
    if host and url.startswith("mongodb+srv://") and isinstance(error, ConfigurationError):
        return (
            f"the name server does not know the cluster {host} (a mongodb+srv:// URL needs its "
            "SRV record). Check the host's name, and that this machine can ask its name server."
        )
    return (
        f"this is not a MongoDB URL that can be read ({type(error).__name__}). Check its form: "
        "mongodb://user:password@host:27017/database?replicaSet=rs0, with special characters in "
        "the password percent-encoded."
    )


def _refusal(error: OperationFailure, parsed: Mapping[str, Any]) -> str | None:
    if error.code == _AUTHENTICATION_FAILED:
        source = parsed["options"].get("authSource") or parsed["database"] or "admin"
        return (
            "the login is refused. Check user and password, and that the user was made in the "
            f"database {source}, which authSource= names."
        )
    if error.code == _UNAUTHORIZED:
        return (
            "the user may not do what is needed (Unauthorized). Give it the role readWrite on "
            "the database, or put a user and a password into the URL."
        )
    code_name = (error.details or {}).get("codeName") or error.code
    return f"the database refuses a command ({code_name})." if error.code else None


@dataclass(frozen=True)
class _Probe:
    """Asks one host, whatever its role in a replica set, and without a login."""

    host: str
    port: int
    tls: Mapping[str, Any]

    @property
    def name(self) -> str:
        return f"{self.host}:{self.port}"

    async def finding(self, wanted: str | None) -> str:
        """Return what is wrong with the host; `wanted` is the name of the URL's replica set."""
        if unreachable := await _unreachable(self.host, self.port):
            return f"{unreachable}."
        try:
            hello = await self._hello()
        except (PyMongoError, TimeoutError) as error:
            return (
                f"it takes connections, and does not answer as a MongoDB ({type(error).__name__})."
                " Check the port, and whether it wants TLS (tls=true)."
            )
        if hello.get("isreplicaset"):
            return (
                "its replica set has not been initiated. Run `rs.initiate()` once in mongosh, and "
                "start this service again."
            )
        if is_standalone(hello):
            return _STANDALONE
        name = hello.get("setName")
        if wanted and name != wanted:
            return f"it is of the replica set {name}, and the URL says replicaSet={wanted}."
        return await self._primary_finding(hello)

    async def _primary_finding(self, hello: Mapping[str, Any]) -> str:
        set_name, primary = hello.get("setName"), hello.get("primary")
        if set_name and not primary:
            return f"it answers, and its replica set {set_name} has no primary at present."
        if primary and primary != self.name:
            host, _, port = str(primary).rpartition(":")
            if unreachable := await _unreachable(host, int(port)):
                return (
                    f"it answers, and names {primary} as its primary: {unreachable}. The members' "
                    "names in rs.conf() have to be known here, too."
                )
        return "it answers. Look into its log, and check the URL's options."

    async def _hello(self) -> dict[str, Any]:
        client: Any = AsyncIOMotorClient(
            self.host,
            self.port,
            directConnection=True,
            serverSelectionTimeoutMS=int(_PROBE_SECONDS * 1000),
            socketTimeoutMS=int(_PROBE_SECONDS * 1000),
            **self.tls,
        )
        try:
            async with asyncio.timeout(2 * _PROBE_SECONDS):
                answer: dict[str, Any] = await client.admin.command("hello")
        finally:
            client.close()
        return answer


async def _unreachable(host: str, port: int) -> str | None:
    """Return why no connection can be opened, or None where one can."""
    if host.startswith("/"):
        return None  # a Unix socket
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return f"no answer within {_PROBE_SECONDS:g} s; is the host up, and no firewall between"
    except socket.gaierror:
        return "the host's name cannot be resolved"
    except ConnectionRefusedError:
        return "nothing listens there (connection refused); is mongod running"
    except OSError as error:
        return f"it cannot be reached ({error.strerror or type(error).__name__})"
    writer.close()
    return None
