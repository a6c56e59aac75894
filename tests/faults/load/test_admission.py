"""Too many deliveries: a limited number is in flight, and others are refused without delay."""

import asyncio
from collections import Counter
from contextlib import ExitStack

import pytest
from prometheus_client import CollectorRegistry, Gauge

from datalayer_stripe.errors import Overloaded
from datalayer_stripe.limits import Admission
from datalayer_stripe.service import Service
from tests.faults import report
from tests.faults.load.hanging_plugin import (
    PROCESSING,
    HangingPlugin,
    assert_overloaded,
    committed_runs,
    deliveries_with,
    in_flight,
    payment,
)
from tests.support.app import Api, json_of

# The load may go on for a while after a test, so each has a database of its own.
pytestmark = [pytest.mark.mongod, pytest.mark.usefixtures("mongodb_url")]

SLOTS = 8
# The slots that one account, and one event type, may use of them.
SLOTS_OF_ACCOUNT = 3
SLOTS_OF_TYPE = 7


@pytest.fixture
def small(service: Service) -> Service:
    """Return the service with few slots for deliveries."""
    gauge = service.metrics.deliveries_in_flight
    service.processor._admission = Admission(gauge, limit=SLOTS)
    service.processor._money_admission = Admission(gauge, limit=SLOTS)
    return service


@pytest.mark.gen_test
async def test_excess_deliveries_are_refused_before_any_work(
    api: Api, small: Service, hanging: HangingPlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: Counter[str] = Counter()
    statuses = small.store.events.statuses

    async def counting_statuses(event_id: str) -> dict[str, str] | None:
        looked_up[event_id] += 1
        return await statuses(event_id)

    monkeypatch.setattr(small.store.events, "statuses", counting_statuses)
    bodies = [payment(f"account-{number}", 1, event_type=PROCESSING) for number in range(40)]
    admitted = [asyncio.create_task(api.deliver(body)) for body in bodies[:SLOTS_OF_TYPE]]
    await hanging.wait_until_running(SLOTS_OF_TYPE)
    assert in_flight(small) == SLOTS_OF_TYPE
    # These are answered while the others still run.
    refused = await asyncio.gather(*(api.deliver(body) for body in bodies[SLOTS_OF_TYPE:]))
    assert_overloaded(refused)
    assert looked_up.total() == SLOTS_OF_TYPE, "a refused delivery has reached the database"
    assert deliveries_with(small, "overloaded") == len(refused)

    hanging.released.set()
    assert {answer.code for answer in await asyncio.gather(*admitted)} == {200}
    assert (hanging.max_running, in_flight(small)) == (SLOTS_OF_TYPE, 0)
    for body in bodies[SLOTS_OF_TYPE:]:
        assert (await api.deliver(body)).code == 200, (
            "a refused event is accepted when it is delivered again"
        )
    assert await committed_runs(small) == [1] * len(bodies)
    report.count("load", deliveries=2 * len(bodies) - SLOTS_OF_TYPE, refused=len(refused))


@pytest.mark.gen_test
async def test_slow_account_leaves_slots_for_other_accounts(
    api: Api, small: Service, hanging: HangingPlugin
) -> None:
    hanging.hangs_for = lambda account: account == "slow"
    slow = [asyncio.create_task(api.deliver(payment("slow", n))) for n in range(SLOTS_OF_ACCOUNT)]
    await hanging.wait_until_running(SLOTS_OF_ACCOUNT)
    assert_overloaded([await api.deliver(payment("slow", SLOTS_OF_ACCOUNT))])
    others = [payment(f"account-{number}", 1) for number in range(SLOTS_OF_TYPE - SLOTS_OF_ACCOUNT)]
    answers = await asyncio.gather(*(api.deliver(body) for body in others))
    assert {answer.code for answer in answers} == {200}
    assert await api.credits("account-0") == 50
    assert not any(task.done() for task in slow)
    hanging.released.set()
    assert {answer.code for answer in await asyncio.gather(*slow)} == {200}
    # The refused event has moved its money, too.
    assert await api.credits("slow") == 50 * (SLOTS_OF_ACCOUNT + 1)
    report.count("load", deliveries=SLOTS_OF_TYPE + 1, refused=1)


@pytest.mark.gen_test
async def test_hanging_plugin_leaves_slots_for_credits(
    api: Api, small: Service, hanging: HangingPlugin
) -> None:
    bodies = [payment(f"account-{number}", 1) for number in range(SLOTS_OF_TYPE + 20)]
    deliveries = [asyncio.create_task(api.deliver(body)) for body in bodies[:SLOTS_OF_TYPE]]
    await hanging.wait_until_running(SLOTS_OF_TYPE)
    # Refused, because plugins that move no money have no slot; Stripe delivers the events again.
    assert_overloaded([await api.deliver(body) for body in bodies[SLOTS_OF_TYPE:]])
    assert {await api.credits(f"account-{number}") for number in range(len(bodies))} == {50}
    assert hanging.max_running == in_flight(small) == SLOTS_OF_TYPE

    hanging.released.set()
    assert {answer.code for answer in await asyncio.gather(*deliveries)} == {200}
    for body in bodies[SLOTS_OF_TYPE:]:
        assert json_of(await api.deliver(body))["outcome"] == "processed"
    assert await committed_runs(small) == [1] * len(bodies)
    assert in_flight(small) == 0
    report.count("load", deliveries=2 * len(bodies) - SLOTS_OF_TYPE, refused=20)


def test_many_requests_of_few_accounts_leave_slots_for_other_accounts_and_types() -> None:
    """The deliveries of some accounts never end, and new ones come all the time."""
    gauge = CollectorRegistry()
    with ExitStack() as held:
        admission = Admission(Gauge("in_flight", "…", registry=gauge), limit=256)

        def admitted(owner: str, event_type: str) -> bool:
            try:
                held.enter_context(admission.admit(owner, event_type))
            except Overloaded:
                return False
            return True

        for _ in range(300):
            for busy in range(12):
                admitted(f"busy-{busy}", "slow.type")
        assert admitted("new account", "slow.type")
        for number in range(1000):
            admitted(f"account-{number}", "slow.type")
        assert not admitted("one more", "slow.type")
        assert admitted("new account", "other.type")


def test_burst_of_payments_of_different_accounts_is_admitted(service: Service) -> None:
    with ExitStack() as held:
        admission = service.processor._money_admission
        for number in range(800):
            held.enter_context(admission.admit(f"account-{number}", "payment_intent.succeeded"))
