"""The checks of the database, on a real MongoDB."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pymongo import MongoClient

from datalayer_stripe.cli.doctor import open_context
from datalayer_stripe.configuration import Attempt
from datalayer_stripe.doctor import database as checks
from datalayer_stripe.doctor.checks import Finding, Status
from datalayer_stripe.doctor.report import run_checks
from datalayer_stripe.settings import Settings
from datalayer_stripe.store.inspection import DiskUse, Inspection
from tests.support.app import JWT_SECRET, UNREACHABLE_URL
from tests.support.database import DRIVER, connect
from tests.support.mongod import Mongod, initiate, replica_set_url
from tests.support.ports import free_port

NewMongod = Callable[[str | None], Mongod]

pytestmark = pytest.mark.mongod


def settings_with(url: str, mode: str = "test") -> Settings:
    return Settings(
        stripe_api_key=f"sk_{mode}_tests",
        stripe_js_api_key=f"pk_{mode}_tests",
        stripe_topup_product_id="prod_topup",
        stripe_subscription_product_ids="prod_plan",
        stripe_webhook_secrets="whsec_testsTestsTestsTestsTests",
        stripe_cust_portal_id="bpc_tests",
        stripe_cust_portal_url="https://billing.example.com/p/login/test",
        stripe_mongodb_url=url,
        stripe_mongodb_driver=DRIVER,
        stripe_api_base=UNREACHABLE_URL if mode == "test" else None,
        jwt_secret=JWT_SECRET,
    )


async def examine(url: str, mode: str = "test") -> dict[str, list[Finding]]:
    """Run the checks of the database as the command does, and return the findings by check."""
    attempt = Attempt(settings_with(url, mode), None, {}, [], None)
    async with open_context(attempt) as context:
        findings = await run_checks(context, checks.SUBJECT.checks)
    return {
        check.name: [one for one in findings if one.check == check.name]
        for check in checks.SUBJECT.checks
    }


def problems(found: dict[str, list[Finding]]) -> list[str]:
    return [name for name, findings in found.items() if any(one.is_problem for one in findings)]


async def prepare(url: str) -> None:
    """Create the collections and indexes, as the start of a service does."""
    store = await connect(url, livemode=False)
    await store.close()


@pytest.mark.gen_test
async def test_prepared_database_has_no_problems(mongodb_url: str) -> None:
    await prepare(mongodb_url)
    found = await examine(mongodb_url)
    assert problems(found) == [], found
    assert {one.status for findings in found.values() for one in findings} == {Status.OK}


@pytest.mark.gen_test
async def test_empty_database_has_no_problems_and_stays_without_indexes(mongodb_url: str) -> None:
    found = await examine(mongodb_url)
    assert problems(found) == [], found
    [finding] = found["database.indexes"]
    assert (finding.status, "the database is empty" in finding.text) == (Status.NOT_RUN, True)
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        database = client.get_default_database()
        assert set(database.list_collection_names()) <= {"service"}
        assert database.service.find_one({"_id": "mode"}) is None, "no mode is bound"


@pytest.mark.gen_test
async def test_unreachable_database_is_found(mongodb_url: str) -> None:
    port = free_port()
    url = f"mongodb://u:hunter2@127.0.0.1:{port}/?serverSelectionTimeoutMS=100"
    found = await examine(url)
    [finding] = found["database.connection"]
    assert finding.status is Status.ERROR
    assert f"127.0.0.1:{port}" in finding.text
    assert "start mongod" in finding.text
    assert "DATALAYER_STRIPE_MONGODB_URL" in (finding.advice or "")
    assert "hunter2" not in finding.text
    assert problems(found) == ["database.connection"]


@pytest.mark.gen_test
async def test_standalone_server_is_found(new_mongod: NewMongod) -> None:
    mongod = await asyncio.to_thread(new_mongod, None)
    found = await examine(f"mongodb://{mongod.address}/")
    [finding] = found["database.connection"]
    assert "mongod --replSet rs0" in finding.text
    assert problems(found) == ["database.connection"]


@pytest.mark.gen_test
async def test_database_of_the_other_mode_is_found(mongodb_url: str) -> None:
    await prepare(mongodb_url)
    found = await examine(mongodb_url, "live")
    [finding] = found["database.connection"]
    assert "contains test data" in finding.text
    assert "Use another database name" in finding.text


@pytest.mark.gen_test
async def test_single_member_is_found_with_a_live_key(mongodb_url: str) -> None:
    found = await examine(mongodb_url, "live")
    [finding] = found["database.members"]
    assert (finding.status, "has one member" in finding.text) == (Status.WARNING, True)
    assert "three members" in (finding.advice or "")
    assert problems(found) == ["database.members"]


@pytest.mark.gen_test
async def test_missing_index_is_found(mongodb_url: str) -> None:
    await prepare(mongodb_url)
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        client.get_default_database().events.drop_index("object_id_1")
        client.get_default_database().drop_collection("jobs")
    found = await examine(mongodb_url)
    texts = {one.text for one in found["database.indexes"]}
    assert texts == {
        "The index events.object_id_1 is missing.",
        "The index jobs.plugin_1_due_at_1 is missing.",
        "The index jobs.object_id_1_plugin_1 is missing.",
    }
    assert problems(found) == ["database.indexes"]


@pytest.mark.gen_test
async def test_lost_majority_is_found(
    new_mongod: NewMongod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "MAJORITY_SECONDS", 0.5)
    members = [await asyncio.to_thread(new_mongod, "rs0") for _ in range(2)]
    primary = await asyncio.to_thread(initiate, members)
    with MongoClient[dict[str, Any]](primary.direct_url) as client:
        config = client.admin.command("replSetGetConfig")["config"]
        config["settings"]["electionTimeoutMillis"] = 60_000  # it stays the primary
        config["version"] += 1
        client.admin.command("replSetReconfig", config)
    url = replica_set_url(members)
    await prepare(url)
    [secondary] = [member for member in members if member is not primary]
    await asyncio.to_thread(secondary.kill)
    attempt = Attempt(settings_with(url), None, {}, [], None)
    async with open_context(attempt) as context:
        [finding] = await run_checks(context, [checks.majority])
    assert (finding.status, "No majority" in finding.text) == (Status.ERROR, True)
    assert "Start the members" in (finding.advice or "")


def set_free_space(monkeypatch: pytest.MonkeyPatch, gib: int) -> None:
    """Let the disk of the database have 100 GiB, of which so many are free."""

    async def disk(_: Inspection) -> DiskUse:
        return DiskUse(total_bytes=100 * 2**30, free_bytes=gib * 2**30)

    monkeypatch.setattr(Inspection, "disk", disk)


@pytest.mark.gen_test
async def test_full_disk_is_found(mongodb_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await prepare(mongodb_url)
    set_free_space(monkeypatch, 3)
    found = await examine(mongodb_url)
    [finding] = found["database.disk"]
    assert finding.text == "Only 3.0 GiB of the database's disk are free, 3%."
    assert "Enlarge the disk" in (finding.advice or "")
    assert problems(found) == ["database.disk"]


@pytest.mark.gen_test
async def test_full_oplog_with_a_short_window_is_found(
    new_mongod: NewMongod, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_free_space(monkeypatch, 50)  # its folder is on the disk of this machine
    mongod = await asyncio.to_thread(new_mongod, "rs0")  # its oplog has 64 MB
    await asyncio.to_thread(initiate, [mongod])
    url = replica_set_url([mongod])
    await prepare(url)
    with MongoClient[dict[str, Any]](mongod.direct_url) as client:
        for _ in range(64):
            client.other.rows.insert_one({"text": "x" * 1_000_000})
    found = await examine(url)
    [finding] = found["database.oplog"]
    assert "goes back 0.0 hours only" in finding.text
    assert "replSetResizeOplog" in (finding.advice or "")
    assert problems(found) == ["database.oplog"]


@pytest.mark.gen_test
async def test_oplog_that_is_not_full_is_no_problem(mongodb_url: str) -> None:
    [finding] = (await examine(mongodb_url))["database.oplog"]
    assert finding.status is Status.OK
