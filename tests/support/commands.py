"""Count the commands that the driver sends to the database of a test."""

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
        names: The names of the commands, in order.
        updates: The collection and the number of updates of each command `update`.
    """

    def __init__(self) -> None:
        self.database: str | None = None
        self.clear()

    def clear(self) -> None:
        """Forget what was counted."""
        self.names: list[str] = []
        self.updates: list[tuple[str, int]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        is_ours = event.database_name == self.database and event.command_name not in _WAITING
        if is_ours or event.command_name in _TRANSACTIONS:
            self.names.append(event.command_name)
        if is_ours and event.command_name == "update":
            self.updates.append((event.command["update"], len(event.command["updates"])))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        pass

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        pass


_COUNTER = CommandCounter()
# The driver has no way to remove a listener. This one counts nothing until it has a database.
monitoring.register(_COUNTER)


@pytest.fixture
def commands(mongodb_url: str) -> Iterator[CommandCounter]:
    """Count the commands that are sent to the database of the test."""
    _COUNTER.database = re.sub(r"^.*/|\?.*$", "", mongodb_url)
    yield _COUNTER
    _COUNTER.database = None
