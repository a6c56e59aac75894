"""Find out why a MongoDB cannot be used, by connecting to each of its hosts.

The driver searches for a usable primary, and reports little about the hosts that it has tried. No
message of this module contains the URL, which may contain a password.
"""

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pymongo import AsyncMongoClient
from pymongo.errors import ConfigurationError, OperationFailure, PyMongoError

from ..settings import variable

VARIABLE = variable("stripe_mongodb_url")

# Timeout of each step with one host. All hosts are probed concurrently.
_PROBE_SECONDS = 3.0
_MAX_HOSTS = 7
_DEFAULT_PORT = 27017

_AUTHENTICATION_FAILED = 18
_UNAUTHORIZED = 13

_STANDALONE = """\
this mongod is a standalone server, but the service needs a replica set for transactions. One \
member is enough: start it with `mongod --replSet rs0`, run `rs.initiate()` once in mongosh, and \
start this service again."""


def is_standalone(hello: Mapping[str, Any]) -> bool:
    """Return whether a server is neither a member of a replica set nor a router.

    Args:
        hello: The server's answer to the command `hello`.
    """
    return "setName" not in hello and hello.get("msg") != "isdbgrid"


def hosts_of(parsed: Mapping[str, Any]) -> str:
    """Return `host:port` of each host of a URL, separated by commas."""
    return ",".join(f"{host}:{port or _DEFAULT_PORT}" for host, port in parsed["nodelist"])


def standalone_message(parsed: Mapping[str, Any]) -> str:
    """Return the error message for a standalone server."""
    return f"{VARIABLE}: {hosts_of(parsed)}: {_STANDALONE}"


async def explain(url: str, parsed: Mapping[str, Any] | None, error: Exception) -> str:
    """Return why the database cannot be used and what to do, as one line for the operator.

    Args:
        url: The URL. The message contains only its host.
        parsed: The URL as parsed by the driver; None if the driver cannot parse it.
        error: What the driver raised.
    """
    if isinstance(error, OSError):
        return f"{VARIABLE}: a file named in the URL cannot be read. Check the tls… options."
    if parsed is None:
        return f"{VARIABLE}: {_invalid_url(url, error)}"
    if isinstance(error, OperationFailure) and (refusal := _explain_refusal(error, parsed)):
        return f"{VARIABLE}: {hosts_of(parsed)}: {refusal}"
    wanted = parsed["options"].get("replicaSet")
    tls = {name: value for name, value in parsed["options"].items() if _is_tls(name)}
    probes = [
        _Probe(host, port or _DEFAULT_PORT, tls) for host, port in parsed["nodelist"][:_MAX_HOSTS]
    ]
    findings = await asyncio.gather(*(probe.finding(wanted) for probe in probes))
    details = " ".join(
        f"{probe.name}: {what}" for probe, what in zip(probes, findings, strict=True)
    )
    return f"{VARIABLE}: the database cannot be used ({type(error).__name__}). {details}"


def _is_tls(option: str) -> bool:
    return option.lower().startswith(("tls", "ssl"))


def _invalid_url(url: str, error: Exception) -> str:
    try:
        host = urlsplit(url).hostname
    except ValueError:
        host = None
    if host and url.startswith("mongodb+srv://") and isinstance(error, ConfigurationError):
        return (
            f"the name server has no SRV record for the cluster {host}, which a mongodb+srv:// URL "
            "needs. Check the host name, and that this machine can reach its name server."
        )
    return (
        f"this is not a valid MongoDB URL ({type(error).__name__}). Its form is "
        "mongodb://user:password@host:27017/database?replicaSet=rs0, with special characters in "
        "the password percent-encoded."
    )


def _explain_refusal(error: OperationFailure, parsed: Mapping[str, Any]) -> str | None:
    if error.code == _AUTHENTICATION_FAILED:
        source = parsed["options"].get("authSource") or parsed["database"] or "admin"
        return (
            "the login was refused. Check user and password, and that the user was created in the "
            f"database {source} (set authSource= to another one)."
        )
    if error.code == _UNAUTHORIZED:
        return (
            "the user lacks a permission (Unauthorized). Give it the role readWrite on the "
            "database, or put a user and a password into the URL."
        )
    code_name = (error.details or {}).get("codeName") or error.code
    return f"the database refused a command ({code_name})." if error.code else None


@dataclass(frozen=True)
class _Probe:
    """Connection to one host, independent of its role in a replica set, and without a login."""

    host: str
    port: int
    tls: Mapping[str, Any]

    @property
    def name(self) -> str:
        return f"{self.host}:{self.port}"

    async def finding(self, set_name: str | None) -> str:
        """Return what is wrong with the host.

        Args:
            set_name: The replica set that the URL names, if any.
        """
        if unreachable := await _unreachable(self.host, self.port):
            return f"{unreachable}."
        try:
            hello = await self._hello()
        except (PyMongoError, TimeoutError) as error:
            return (
                f"it accepts connections, but does not answer like MongoDB "
                f"({type(error).__name__}). Check the port, whether it needs TLS (tls=true), and "
                "whether the process hangs."
            )
        if hello.get("isreplicaset"):
            return (
                "its replica set has not been initiated. Run `rs.initiate()` once in mongosh, and "
                "start this service again."
            )
        if is_standalone(hello):
            return _STANDALONE
        name = hello.get("setName")
        if set_name and name != set_name:
            return f"it belongs to the replica set {name}, but the URL says replicaSet={set_name}."
        return await self._primary_finding(hello)

    async def _primary_finding(self, hello: Mapping[str, Any]) -> str:
        set_name, primary = hello.get("setName"), hello.get("primary")
        if set_name and not primary:
            return f"it answers, but its replica set {set_name} has no primary: start all members."
        if primary and primary != self.name:
            host, _, port = str(primary).rpartition(":")
            if unreachable := await _unreachable(host, int(port)):
                return (
                    f"it answers, but its primary {primary} cannot be used: {unreachable}. This "
                    "machine must be able to reach the members by their names in rs.conf()."
                )
        return "it answers. Check its log and the options of the URL."

    async def _hello(self) -> dict[str, Any]:
        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
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
            await client.close()
        return answer


async def _unreachable(host: str, port: int) -> str | None:
    """Return why no connection can be opened, or None if one can."""
    if host.startswith("/"):
        return None  # A Unix socket.
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return (
            f"no answer within {_PROBE_SECONDS:g} s; check that the host is up and that no "
            "firewall blocks the port"
        )
    except socket.gaierror:
        return "the host name cannot be resolved"
    except ConnectionRefusedError:
        return "no process listens there (connection refused); start mongod"
    except OSError as error:
        return f"it cannot be reached ({error.strerror or type(error).__name__})"
    writer.close()
    return None
