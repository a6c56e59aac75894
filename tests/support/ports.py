"""Choose ports for servers that are started later, or that are started again."""

import socket
from random import SystemRandom

# Below the ports that the system gives to connections and to servers that listen on port 0: from
# 32768 on Linux, from 49152 elsewhere. So none of these takes the port before the server listens,
# or while it is restarted.
_PORTS = range(20_000, 32_768)

# Hypothesis sets the seed of the global generator, to the same value in each process.
_random = SystemRandom()
_chosen: set[int] = set()


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that is not in use, another one at each call."""
    while True:
        port = _random.choice(_PORTS)
        if port not in _chosen and _is_free(port):
            _chosen.add(port)
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
