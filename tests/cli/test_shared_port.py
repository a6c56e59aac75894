"""The port that several processes share."""

import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from datalayer_stripe.cli.shared_port import SharedPort


@pytest.fixture
def port() -> Iterator[SharedPort]:
    with closing(SharedPort("127.0.0.1", 0)) as port:
        yield port


def connect(port: SharedPort) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port.port), timeout=5)


def test_each_process_gets_a_socket_that_listens_when_it_is_ready(port: SharedPort) -> None:
    for _ in range(2):  # the second one replaces the first one
        with port.sockets_of_process() as [listener]:
            with pytest.raises(ConnectionRefusedError):
                connect(port)
            listener.listen()
            with connect(port), listener.accept()[0]:
                pass


def test_all_processes_inherit_one_socket_without_reuseport(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(socket, "SO_REUSEPORT")
    with closing(SharedPort("127.0.0.1", 0)) as port:
        with port.sockets_of_process() as [first]:
            pass
        with port.sockets_of_process() as [second]:
            assert second is first
        with connect(port):
            first.setblocking(True)
            first.accept()[0].close()
