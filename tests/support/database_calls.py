"""Know whether a call to the database is running.

Commands say too little: a call also waits for a thread (Motor), for a free connection, or until a
new one is open (PyMongo).
"""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from pymongo import monitoring
from tornado.ioloop import IOLoop


class DatabaseCalls(monitoring.ConnectionPoolListener):
    """Counts the calls that run: in a thread, or with a connection or on the way to one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # Motor's threads count, too
        self._number = 0

    @property
    def running(self) -> bool:
        """Whether a call is running."""
        return self._number > 0

    def clear(self) -> None:
        """Forget what was counted."""
        self._number = 0

    def begin(self) -> None:
        """Count a call."""
        with self._lock:
            self._number += 1

    def end(self) -> None:
        """Count the end of a call."""
        with self._lock:
            self._number -= 1

    def connection_check_out_started(self, _: monitoring.ConnectionCheckOutStartedEvent) -> None:
        self.begin()

    def connection_check_out_failed(self, _: monitoring.ConnectionCheckOutFailedEvent) -> None:
        self.end()

    def connection_checked_in(self, _: monitoring.ConnectionCheckedInEvent) -> None:
        self.end()

    def connection_checked_out(self, _: Any) -> None: ...

    def connection_created(self, _: Any) -> None: ...

    def connection_ready(self, _: Any) -> None: ...

    def connection_closed(self, _: Any) -> None: ...

    def pool_created(self, _: Any) -> None: ...

    def pool_ready(self, _: Any) -> None: ...

    def pool_cleared(self, _: Any) -> None: ...

    def pool_closed(self, _: Any) -> None: ...


_CALLS = DatabaseCalls()
# The driver has no way to remove a listener.
monitoring.register(_CALLS)


@pytest.fixture
def database_calls(io_loop: IOLoop, monkeypatch: pytest.MonkeyPatch) -> DatabaseCalls:
    """Count the calls of the clients of this process, including those that wait for a thread."""
    loop: Any = io_loop.asyncio_loop  # type: ignore[attr-defined]
    run_in_executor = loop.run_in_executor

    def run(executor: Any, work: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":
        _CALLS.begin()
        future: asyncio.Future[Any] = run_in_executor(executor, work, *args)
        future.add_done_callback(lambda _: _CALLS.end())
        return future

    _CALLS.clear()
    monkeypatch.setattr(loop, "run_in_executor", run)
    return _CALLS
