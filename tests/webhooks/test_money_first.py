"""Plugins that do not move money run only after those of the same event that do."""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from datalayer_stripe import Context, Event, Plugin, Reject, Retry
from datalayer_stripe.errors import RateLimited
from datalayer_stripe.reconciliation.findings import Finding, Report
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import ACCOUNT, Api, Clock, changed, json_of, recorded
from tests.support.shop import Buyer, rows

pytestmark = pytest.mark.mongod

PAID = recorded("payment_intent.succeeded")
EVENT_ID = json.loads(PAID)["id"]


class Mailer:
    """A plugin that moves money and fails on request, and two that send mails."""

    def __init__(self) -> None:
        self.fails: Exception | None = None
        self.runs: Counter[str] = Counter()
        self.plugins = [
            self._plugin("bonus", order=-10, moves_money=True),
            self._plugin("mail"),
            self._plugin("report", order=200),
            self._plugin("afterwards", deferred=True),
        ]

    def _plugin(
        self, name: str, *, order: int = 100, moves_money: bool = False, deferred: bool = False
    ) -> Plugin:
        plugin = Plugin(name, order=order, moves_money=moves_money)

        @plugin.on("payment_intent.succeeded", deferred=deferred)
        async def run(event: Event, ctx: Context) -> None:
            if name == "bonus" and self.fails:
                raise self.fails
            self.runs[name] += 1

        return plugin


@pytest.fixture
def mailer() -> Mailer:
    return Mailer()


@pytest.fixture
def extra_plugins(mailer: Mailer) -> Sequence[Plugin]:
    return mailer.plugins


async def statuses(service: Service, event_id: str = EVENT_ID) -> dict[str, str]:
    return (await service.store.events.runs([event_id])).get(event_id, {})


async def rejected(service: Service) -> list[dict[str, Any]]:
    return [row for row in await rows(service, "events") if "bonus" in row.get("rejected", ())]


async def reconcile(service: Service, clock: Clock) -> tuple[Report, list[Finding]]:
    found: list[Finding] = []
    run = service.reconciliation(on_finding=found.append)
    return await run.run(clock() - timedelta(days=30)), found


@pytest.mark.gen_test
async def test_plugins_wait_for_a_plugin_that_moves_money_and_meets_the_rate_limit(
    api: Api, mailer: Mailer
) -> None:
    mailer.fails = RateLimited("Stripe's limit is reached.", retry_after=1)
    assert (await api.deliver(PAID)).code == 503
    assert mailer.runs == {}
    mailer.fails = None
    assert json_of(await api.deliver(PAID))["outcome"] == "processed"
    assert mailer.runs.keys() >= {"bonus", "mail", "report"}


@pytest.mark.parametrize(
    ("error", "code"), [(RuntimeError("a bug"), 503), (Retry("not now"), 503), (Reject("no"), 200)]
)
@pytest.mark.gen_test
async def test_later_stages_do_not_run_until_the_money_stage_succeeds(
    api: Api, service: Service, mailer: Mailer, error: Exception, code: int
) -> None:
    mailer.fails = error
    for _ in range(2):
        answer = await api.deliver(PAID)
        assert answer.code == code
        assert set(await statuses(service)) == {"bonus", "top-up-credits"}
        assert mailer.runs == {}
        assert await rows(service, "jobs") == []
    assert await api.credits() == 50, "two plugins that move money do not wait for each other"

    mailer.fails = None
    answer = await api.deliver(PAID)
    assert json_of(answer)["outcome"] == "processed"
    await service.worker.run_due()
    assert mailer.runs == {"bonus": 1, "mail": 1, "report": 1, "afterwards": 1}
    assert set((await statuses(service)).values()) == {"done"}


@pytest.mark.gen_test
async def test_replay_of_a_rejected_top_up_runs_the_later_stages_too(
    api: Api, service: Service, mailer: Mailer
) -> None:
    unpaid = changed(PAID, id=EVENT_ID, amount_received=1)
    assert json_of(await api.deliver(unpaid))["outcome"] == "rejected"
    assert (await service.processor.replay(EVENT_ID)).outcome == "rejected"
    assert set(await statuses(service)) == {"bonus", "top-up-credits"}
    assert mailer.runs == {"bonus": 1}

    await service.store._database.events.update_one(
        {"_id": EVENT_ID}, {"$set": {"payload": PAID.decode()}}
    )
    assert (await service.processor.replay(EVENT_ID)).outcome == "processed"
    await service.worker.run_due()
    assert mailer.runs == {"bonus": 1, "mail": 1, "report": 1, "afterwards": 1}
    assert (await service.store.accounts.get(ACCOUNT)).credits == 50


@pytest.mark.gen_test
async def test_reconcile_does_not_run_plugins_that_wait_for_a_rejected_event(
    buyer: Buyer, webhooks: Webhooks, service: Service, clock: Clock, mailer: Mailer
) -> None:
    await buyer.subscribe()
    before = Counter(mailer.runs)
    mailer.fails = Reject("no bonus")
    await buyer.buy()
    [event] = await rejected(service)
    webhooks.drop(1000)
    for _ in range(2):
        report, found = await reconcile(service, clock)
        assert event["_id"] not in {one.id for one in found}
        assert report.rejected == 1
    [kept] = await rejected(service)
    assert kept["handlers"]["bonus"]["attempts"] == 1

    mailer.fails = None
    assert (await service.processor.replay(event["_id"])).outcome == "processed"
    assert mailer.runs["bonus"] == before["bonus"] + 1
    assert mailer.runs["mail"] == before["mail"] + 1


@pytest.mark.gen_test
async def test_reconcile_runs_the_later_stages_of_a_failed_money_stage(
    buyer: Buyer, webhooks: Webhooks, service: Service, clock: Clock, mailer: Mailer
) -> None:
    await buyer.subscribe()
    before = Counter(mailer.runs)
    webhooks.drop(1000)
    mailer.fails = RuntimeError("a bug")
    await buyer.buy()
    _, found = await reconcile(service, clock)
    assert "failed" in {one.outcome for one in found}
    assert mailer.runs == before
    assert await buyer.credits() == 50

    mailer.fails = None
    await reconcile(service, clock)
    await service.worker.run_due()
    assert mailer.runs["bonus"] == before["bonus"] + 1
    assert mailer.runs["mail"] == before["mail"] + 1
