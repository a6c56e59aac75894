"""Errors of a database that cannot be used contain host, port and cause, but no password."""

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from pymongo import AsyncMongoClient

from datalayer_stripe.errors import StoreError
from datalayer_stripe.store import diagnosis
from tests.support.database import connect
from tests.support.mongod import Mongod
from tests.support.ports import free_port

NewMongod = Callable[[str | None], Mongod]

QUICK = "serverSelectionTimeoutMS=500"


async def connect_error(url: str) -> str:
    """Return the message of the error that `connect` raises."""
    with pytest.raises(StoreError) as refused:
        await connect(url, livemode=False)
    assert refused.value.__suppress_context__, "the driver's own error may hold the URL"
    message = str(refused.value)
    assert message.startswith("DATALAYER_STRIPE_MONGODB_URL: ")
    assert "hunter2" not in message
    assert "\n" not in message
    return message


@pytest.fixture
def silent_port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Return a port that accepts connections and sends nothing."""
    monkeypatch.setattr(diagnosis, "_PROBE_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.gen_test
async def test_error_says_that_no_process_listens(mongodb_url: str) -> None:
    port = free_port()
    message = await connect_error(
        f"mongodb://user:hunter2@127.0.0.1:{port}/?replicaSet=rs0&{QUICK}"
    )
    assert f"127.0.0.1:{port}: no process listens there" in message


@pytest.mark.gen_test
async def test_error_names_each_host_and_its_cause(mongodb_url: str) -> None:
    up, down = urlsplit(mongodb_url).netloc, f"127.0.0.1:{free_port()}"
    message = await connect_error(f"mongodb://{up},{down}/?replicaSet=rs1&{QUICK}")
    assert f"{up}: it belongs to the replica set rs0, but the URL says replicaSet=rs1" in message
    assert f"{down}: no process listens there" in message


@pytest.mark.gen_test
async def test_error_names_host_that_cannot_be_resolved() -> None:
    message = await connect_error(f"mongodb://user:hunter2@no-such-host.invalid/?{QUICK}")
    assert "no-such-host.invalid:27017: the host name cannot be resolved" in message


@pytest.mark.gen_test
async def test_error_names_cluster_without_srv_record() -> None:
    message = await connect_error("mongodb+srv://user:hunter2@cluster.no-such-host.invalid/")
    assert "has no SRV record for the cluster cluster.no-such-host.invalid" in message


@pytest.mark.gen_test
async def test_error_names_standalone_server_for_url_with_replica_set(
    new_mongod: NewMongod,
) -> None:
    mongod = new_mongod(None)
    message = await connect_error(f"mongodb://{mongod.address}/?replicaSet=rs0&{QUICK}")
    assert f"{mongod.address}: this mongod is a standalone server" in message


@pytest.mark.gen_test
async def test_error_names_replica_set_that_is_not_initiated(new_mongod: NewMongod) -> None:
    mongod = new_mongod("rs0")
    message = await connect_error(f"mongodb://{mongod.address}/?replicaSet=rs0&{QUICK}")
    assert f"{mongod.address}: its replica set has not been initiated" in message


@pytest.mark.gen_test
async def test_error_says_that_login_was_refused(mongodb_url: str) -> None:
    address = urlsplit(mongodb_url).netloc
    message = await connect_error(mongodb_url.replace("mongodb://", "mongodb://user:hunter2@"))
    assert f"{address}: the login was refused" in message
    assert "authSource" in message


@pytest.mark.gen_test
async def test_error_names_server_that_is_not_mongodb(silent_port: int) -> None:
    message = await connect_error(f"mongodb://127.0.0.1:{silent_port}/?{QUICK}")
    assert f"127.0.0.1:{silent_port}: it accepts connections, but does not answer" in message
    assert "TLS (tls=true), and whether the process hangs." in message


@pytest.mark.parametrize(
    "url", ["mongodb://user:hunter2/@h", "mongodb://user:hunter2@h:port/", "mongodb://u:%zz@h/"]
)
@pytest.mark.gen_test
async def test_error_says_that_url_is_not_valid(url: str) -> None:
    assert "not a valid MongoDB URL" in await connect_error(url)


@pytest.mark.gen_test
async def test_error_names_collection_with_conflicting_index(mongodb_url: str) -> None:
    client = AsyncMongoClient[dict[str, Any]](mongodb_url)
    try:
        subscriptions = client.get_default_database().subscriptions
        await subscriptions.create_index("account_uid", sparse=True)
        with pytest.raises(StoreError, match=r"collection subscriptions .*Index\w+Conflict"):
            await connect(mongodb_url, livemode=False)
    finally:
        await client.close()


@pytest.mark.gen_test
async def test_index_build_may_take_longer_than_socket_timeout(
    mongodb_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "datalayer_stripe.store.indexes")
    client = AsyncMongoClient[dict[str, Any]](mongodb_url)
    database = client.get_default_database()
    await database.ledger.insert_one({"_id": "pi_1"})
    try:
        async with client.start_session() as session:
            await session.start_transaction()
            # An index build waits for the transactions that use its collection.
            await database.ledger.update_one({"_id": "pi_1"}, {"$set": {"n": 1}}, session=session)
            connecting = asyncio.create_task(
                connect(f"{mongodb_url}&socketTimeoutMS=1000", livemode=False)
            )
            await asyncio.wait({connecting}, timeout=3)
            assert not connecting.done(), "the build was aborted"
            [line] = [one for one in caplog.records if one.message.startswith("building indexes")]
            assert vars(line)["collection"] == "ledger"
            await session.commit_transaction()
        store = await connecting
        assert "reverses_1" in await database.ledger.index_information()
        await store.close()
    finally:
        await client.close()


@pytest.mark.gen_test
async def test_error_mentions_tls_file_that_cannot_be_read() -> None:
    url = "mongodb://127.0.0.1:9/db?tls=true&tlsCertificateKeyFile=/no/such/file"
    with pytest.raises(StoreError, match="a file named in the URL cannot be read"):
        await connect(url, livemode=False)
