"""Count the commands that the driver sends to the database of a test."""

import asyncio
import re
from collections.abc import Iterator

import pytest
from pymongo import monitoring

# A command that waits for changes is not a request of its own: it runs as long as a stream is open.
_WAITING = frozenset({"getMore"})
# The driver sends these to the database `admin`, whatever database the transaction is about.
_TRANSACTIONS = frozenset({"commitTransaction", "abortTransaction"})


class CommandCounter(monitoring.CommandListener):
    """Counts the commands that are sent to one database.

    Attributes:
        database: The name of the database; None counts nothing.
        names: The names of the commands since the last :meth:`clear`, in order.
        updates: The collection and the number of updates of each command `update`.
        running: The ids of the commands that the server has not answered yet.
        target: The number of commands that :meth:`reach_target` waits for.
    """

    def __init__(self) -> None:
        self.database: str | None = None
        self.target = 0
        self.clear()

    def clear(self) -> None:
        """Forget what was counted."""
        self.names: list[str] = []
        self.updates: list[tuple[str, int]] = []
        self.running: set[int] = set()

    async def reach_target(self) -> None:
        """Wait until as many commands were counted as `target` says."""
        async with asyncio.timeout(60):
            while len(self.names) < self.target:  # noqa: ASYNC110 (other threads count them)
                await asyncio.sleep(0.001)

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        is_ours = event.database_name == self.database and event.command_name not in _WAITING
        if is_ours or event.command_name in _TRANSACTIONS:
            self.names.append(event.command_name)
            self.running.add(event.request_id)
        if is_ours and event.command_name == "update":
            self.updates.append((event.command["update"], len(event.command["updates"])))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        self.running.discard(event.request_id)

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        self.running.discard(event.request_id)


COUNTER = CommandCounter()
# The driver has no way to remove a listener. This one counts nothing until it has a database.
monitoring.register(COUNTER)


@pytest.fixture
def commands(mongodb_url: str) -> Iterator[CommandCounter]:
    """Count the commands that are sent to the database of the test."""
    COUNTER.database = re.sub(r"^.*/|\?.*$", "", mongodb_url)
    yield COUNTER
    COUNTER.database = None
