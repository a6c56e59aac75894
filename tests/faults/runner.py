"""Run simulations one after the other, in one event loop and on one database."""

import asyncio
import tempfile
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pymongo import AsyncMongoClient

from tests.support.mongod import Mongod, initiate, replica_set_url
from tests.support.ports import free_port

# A step that takes longer hangs.
_STEP_TIMEOUT = 60.0  # seconds

T = TypeVar("T")


@dataclass
class SimulationRunner:
    """An event loop and a database.

    Attributes:
        url: The URL of the database, whose content simulations delete.
        loop: The event loop.
    """

    url: str
    loop: asyncio.AbstractEventLoop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end. Raise TimeoutError if it hangs."""
        return self.loop.run_until_complete(asyncio.wait_for(work, _STEP_TIMEOUT))

    @cached_property
    def database(self) -> Any:
        """The database, without any faults."""
        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(self.url, tz_aware=True)
        return client.get_default_database()

    def close(self) -> None:
        """Close the connection to the database."""
        if "database" in self.__dict__:
            self.run(self.database.client.close())


@contextmanager
def own_runner() -> Iterator[SimulationRunner]:
    """Start a mongod, and yield a runner that uses it."""
    with tempfile.TemporaryDirectory() as folder:
        mongod = Mongod(free_port(), Path(folder), "rs0").start()
        loop = asyncio.new_event_loop()
        try:
            initiate([mongod])
            url = replica_set_url([mongod]).replace("/?", "/simulation?")
            runner = SimulationRunner(url, loop)
            yield runner
            runner.close()
        finally:
            mongod.kill()
            loop.close()
