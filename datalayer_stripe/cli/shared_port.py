"""Let several processes accept the connections of one port.

With SO_REUSEPORT each process has a listening socket of its own, and the kernel distributes the
connections. Without it, all processes inherit the same listening sockets.
https://lwn.net/Articles/542629/
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from ..app import listen


class SharedPort:
    """A port that stays reserved until it is closed, also while no process listens on it.

    Args:
        host: The host name or IP address to bind.
        port: The port to bind. 0 chooses a free port.
        setting: The variable that has the address; None if the options of the command have it.

    Raises:
        StartError: The address or the port cannot be used, or another process uses it.
    """

    def __init__(self, host: str, port: int, *, setting: str | None = None) -> None:
        # Without SO_REUSEPORT, so that it fails if another service uses the port.
        self._sockets = listen(host, port, setting=setting)
        self.port: int = self._sockets[0].getsockname()[1]
        """The port."""
        self._is_reusable = hasattr(socket, "SO_REUSEPORT")
        if self._is_reusable:
            addresses = [(one.family, one.getsockname()) for one in self._sockets]
            self.close()
            # They are bound only: the kernel gives connections to sockets that listen.
            self._sockets = [_bind(*address) for address in addresses]

    @contextmanager
    def sockets_of_process(self) -> Iterator[list[socket.socket]]:
        """Yield the sockets on which a new process listens, to be inherited in the block."""
        if not self._is_reusable:
            yield self._sockets
            return
        sockets = [_bind(one.family, one.getsockname()) for one in self._sockets]
        try:
            yield sockets
        finally:
            for one in sockets:
                one.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the port."""
        for one in self._sockets:
            one.close()


def _bind(family: int, address: Any) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    bound.bind(address)
    return bound
