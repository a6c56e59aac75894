"""What worlds share one after the other: an event loop and a database."""

import asyncio
import tempfile
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from motor.motor_asyncio import AsyncIOMotorClient

from tests.support.mongod import Mongod, free_port, initiate, replica_set_url

# Seconds after which a step hangs.
_PATIENCE = 60.0

T = TypeVar("T")


@dataclass
class Stage:
    """`url` is that of a database, whose content worlds may drop."""

    url: str
    loop: asyncio.AbstractEventLoop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something to its end; what hangs is a failure."""
        return self.loop.run_until_complete(asyncio.wait_for(work, _PATIENCE))

    @cached_property
    def database(self) -> Any:
        """The database as it is, beside all faults."""
        client: Any = AsyncIOMotorClient(self.url, tz_aware=True, io_loop=self.loop)
        return client.get_default_database()

    def close(self) -> None:
        if "database" in self.__dict__:
            self.database.client.close()


@contextmanager
def own_stage() -> Iterator[Stage]:
    """A stage with a mongod of its own."""
    with tempfile.TemporaryDirectory() as folder:
        mongod = Mongod(free_port(), Path(folder), "rs0").start()
        loop = asyncio.new_event_loop()
        try:
            initiate([mongod])
            stage = Stage(replica_set_url([mongod]).replace("/?", "/story?"), loop)
            yield stage
            stage.close()
        finally:
            mongod.kill()
            loop.close()
