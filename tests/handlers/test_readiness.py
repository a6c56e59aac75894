"""`/readyz`: problems with the database, and warnings about the webhook secret."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from pymongo import MongoClient

from datalayer_stripe.service import Service
from datalayer_stripe.store import readiness
from datalayer_stripe.store.readiness import DatabaseProbe
from datalayer_stripe.webhooks import signature_monitor as webhook_signatures
from datalayer_stripe.webhooks.signature_monitor import SignatureMonitor
from tests.support.app import Api, changed, json_of, recorded, sign
from tests.support.database import connect
from tests.support.mongod import Mongod, initiate, replica_set_url

PAID = recorded("payment_intent.succeeded")

NewMongod = Callable[[str | None], Mongod]


async def warnings(api: Api) -> dict[str, str]:
    answer = await api.get("/readyz", account=None)
    assert answer.code == 200
    return dict(json_of(answer)["warnings"])


# The database


def prevent_stepdown(primary: Mongod) -> None:
    """Let the primary keep its role for a minute without the other member."""
    with MongoClient[dict[str, Any]](primary.direct_url) as client:
        config = client.admin.command("replSetGetConfig")["config"]
        config["settings"]["electionTimeoutMillis"] = 60_000
        config["version"] += 1
        client.admin.command("replSetReconfig", config)


@pytest.mark.gen_test
async def test_primary_without_majority_is_not_ready(
    new_mongod: NewMongod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(readiness, "PROBE_SECONDS", 5.0)
    members = [new_mongod("rs0"), new_mongod("rs0")]
    primary = await asyncio.to_thread(initiate, members)
    [secondary] = [member for member in members if member is not primary]
    prevent_stepdown(primary)
    store = await connect(replica_set_url(members), livemode=False)
    try:
        probe = DatabaseProbe(store)
        assert await probe.problem() is None
        await asyncio.to_thread(secondary.kill)
        monkeypatch.setattr(readiness, "PROBE_SECONDS", 1.0)
        assert "takes no durable writes" in (await probe.problem() or "")
        await store.ping()  # a ping succeeds even without a majority
        await asyncio.to_thread(secondary.start)
        monkeypatch.setattr(readiness, "PROBE_SECONDS", 5.0)
        async with asyncio.timeout(120):
            while await probe.problem() is not None:
                pass
    finally:
        await store.close()


@pytest.mark.gen_test
async def test_concurrent_readiness_requests_share_one_probe(
    api: Api, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes = 0
    write = service.store.write_durably

    async def count_and_write(*, seconds: float) -> None:
        nonlocal writes
        writes += 1
        await write(seconds=seconds)

    monkeypatch.setattr(service.store, "write_durably", count_and_write)
    monkeypatch.setattr(service.database_probe, "_monotonic", lambda: now)
    now = 0.0
    for number in (1, 2):
        answers = await asyncio.gather(*(api.get("/readyz", account=None) for _ in range(50)))
        assert {answer.code for answer in answers} == {200}
        assert (await api.get("/readyz", account=None)).code == 200
        assert writes == number
        now += readiness.FRESH_SECONDS


# The webhook's secret


@pytest.mark.gen_test
async def test_wrong_webhook_secret_is_a_warning_until_a_delivery_verifies(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, webhook_signatures.__name__)
    assert await warnings(api) == {}
    for number in range(41):
        body = changed(PAID, id=f"evt_{number}")
        answer = await api.deliver(body, sign(body, secret="whsec_of_another_endpoint"))
        assert answer.code == 400
    warning = (await warnings(api))["webhook"]
    start = "no delivery verified since this process started, 41 refused. Compare DATALAYER_"
    assert warning.startswith(start)
    [line] = [record for record in caplog.records if record.name == webhook_signatures.__name__]
    assert line.levelname == "WARNING"
    assert "DATALAYER_STRIPE_WEBHOOK_SECRET" in line.message
    assert "whsec_" not in line.message

    assert (await api.deliver(PAID)).code == 200
    assert await warnings(api) == {}, "a verified delivery shows that the secret is right"


@pytest.mark.gen_test
async def test_delivery_without_signature_causes_no_warning(api: Api) -> None:
    assert (await api.deliver(PAID, "")).code == 400
    assert await warnings(api) == {}


def test_many_refused_deliveries_in_a_row_log_one_warning_per_hour(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    signatures = SignatureMonitor(monotonic=lambda: now)
    signatures.count_verified()
    for _ in range(webhook_signatures.REFUSED_IN_A_ROW - 1):
        signatures.count_refused()
    assert signatures.warning is None
    assert caplog.messages == []
    for _ in range(1000):
        signatures.count_refused()
    assert (signatures.warning or "").startswith("1009 deliveries refused since the last verified")
    assert len(caplog.messages) == 1
    now += webhook_signatures.WARNING_INTERVAL
    signatures.count_refused()
    assert len(caplog.messages) == 2
