"""Send copies of one request at once, and measure the time until all are answered."""

import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

from benchmarks.requests import signed_headers
from benchmarks.wrk import LoadError

_TIMEOUT = 20.0  # seconds
_OK = b"HTTP/1.1 200 "


class Burst:
    """Open connections to a server, each of which sends the same request.

    Use :func:`open_burst`.
    """

    def __init__(self, url: str, connections: list[socket.socket]) -> None:
        self._path = urlsplit(url).path
        self._connections = connections

    def send(self, body: bytes) -> float:
        """Send a signed body on all connections, and return the milliseconds until all answers.

        Raises:
            LoadError: An answer is not a 200, or does not come.
        """
        headers = {"Host": "127.0.0.1", **signed_headers(body), "Content-Length": len(body)}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        request = f"POST {self._path} HTTP/1.1\r\n{lines}\r\n".encode() + body
        with selectors.DefaultSelector() as waiting:
            started_at = time.perf_counter()
            for connection in self._connections:
                connection.sendall(request)
                waiting.register(connection, selectors.EVENT_READ, bytearray())
            while waiting.get_map():
                ready = waiting.select(_TIMEOUT)
                if not ready:
                    raise LoadError(f"{len(waiting.get_map())} copies were not answered")
                for key, _ in ready:
                    received = key.fileobj.recv(65536)  # type: ignore[union-attr]
                    if not received:
                        raise LoadError("a connection was closed before its answer")
                    key.data.extend(received)
                    if is_complete(key.data):
                        waiting.unregister(key.fileobj)
            return (time.perf_counter() - started_at) * 1e3


def is_complete(answer: bytearray) -> bool:
    """Return whether an HTTP answer with a Content-Length is complete.

    Raises:
        LoadError: It is not a 200.
    """
    if not answer.startswith(_OK[: len(answer)]):
        raise LoadError(f"a copy was answered {bytes(answer[:60])!r}")
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        return False
    lengths = [
        line.partition(b":")[2]
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    ]
    return len(body) >= int(lengths[0])


@contextmanager
def open_burst(url: str, connections: int) -> Iterator[Burst]:
    """Open connections to a server until the end of the block."""
    target = urlsplit(url)
    with ExitStack() as stack:
        address = (target.hostname, target.port)
        opened = [
            stack.enter_context(socket.create_connection(address, timeout=_TIMEOUT))
            for _ in range(connections)
        ]
        yield Burst(url, opened)
