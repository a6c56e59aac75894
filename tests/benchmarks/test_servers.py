"""The load and the processor time of a server, without wrk."""

import os
import selectors
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks.burst import is_complete, open_burst
from benchmarks.processes import cpu_seconds, memory_mib, process_tree, wait_until_idle
from benchmarks.wrk import LoadError

# The benchmarks read processor time and memory from Linux's /proc, and run on Linux only.
needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")


class Handler(BaseHTTPRequestHandler):
    """Answers with the status in the path, and counts the bodies."""

    protocol_version = "HTTP/1.1"
    bodies: list[bytes]

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(int(self.path.strip("/")))
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


class Server(ThreadingHTTPServer):
    """Ignores clients that close their connections early."""

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    Handler.bodies = []
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_burst_sends_a_copy_on_each_connection(url: str) -> None:
    with open_burst(f"{url}/200", 5) as burst:
        assert burst.send(b"first") > 0
        assert burst.send(b"second") > 0
    assert Handler.bodies == [b"first"] * 5 + [b"second"] * 5


def test_burst_fails_if_a_copy_is_refused(url: str) -> None:
    with open_burst(f"{url}/503", 2) as burst, pytest.raises(LoadError, match="503"):
        burst.send(b"body")


@pytest.mark.parametrize("cut", [0, 5, 20, -1])
def test_an_answer_is_complete_at_its_length(cut: int) -> None:
    answer = bytearray(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
    assert is_complete(answer)
    assert not is_complete(answer[:cut])


@needs_proc
def test_processor_time_and_memory_are_those_of_the_process_and_its_children() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            assert child.pid in process_tree(os.getpid())
            assert process_tree(child.pid) == [child.pid]
            before = cpu_seconds(os.getpid())
            while cpu_seconds(os.getpid()) == before:
                pass
            assert memory_mib(os.getpid()) > memory_mib(child.pid) > 0
        finally:
            child.kill()


@needs_proc
def test_a_process_is_idle_when_none_of_its_threads_runs() -> None:
    # It counts for a while, prints that it has ended, and sleeps.
    code = "import sys, time; sum(range(10**7)); print('done', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        try:
            wait_until_idle(process.pid)
            assert process.stdout is not None
            with selectors.DefaultSelector() as printed:
                printed.register(process.stdout, selectors.EVENT_READ)
                assert printed.select(timeout=0)
        finally:
            process.kill()
