"""Stories that each need one guard. At the end of each, every law is checked."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from datalayer_stripe.events import Event
from datalayer_stripe.store.marks import Mark
from datalayer_stripe.store.unit_of_work import UnitOfWork
from datalayer_stripe.testing.faults import WHENS, Fault, FaultKind
from tests.faults import laws
from tests.faults.simulation import CREDITS, LawViolation, Simulation

MakeEvent = Callable[[Simulation], dict[str, Any]]
"""Does something at Stripe, and returns the event about it."""


def pay(simulation: Simulation) -> dict[str, Any]:
    """Pay a package, and return the event about it."""
    intent = simulation.sandbox.call(
        "POST",
        "/v1/payment_intents",
        amount=500,
        currency="usd",
        metadata={
            "account_uid": "ada",
            "price_id": simulation.sandbox.packages[CREDITS[0]],
            "credits": "50",
        },
    )
    simulation.pay(intent["id"], "good")
    return _newest(simulation, "payment_intent.succeeded")


def subscribe(simulation: Simulation) -> dict[str, Any]:
    """Subscribe, and return the event about it."""
    customer = simulation.sandbox.create_customer()["id"]
    made = simulation.sandbox.call(
        "POST",
        "/v1/subscriptions",
        customer=customer,
        items=[{"price": simulation.sandbox.plan}],
        payment_behavior="default_incomplete",
        metadata={"account_uid": "ada"},
    )
    simulation.sandbox.pay_invoice(made["latest_invoice"])
    return _newest(simulation, "customer.subscription.updated")


def change_subscription(simulation: Simulation) -> dict[str, Any]:
    """Cancel the subscription at the end of its period, or resume it; return the event about it."""
    [subscription] = simulation.subscriptions("active")
    simulation.sandbox.call(
        "POST",
        f"/v1/subscriptions/{subscription['id']}",
        cancel_at_period_end=not subscription["cancel_at_period_end"],
    )
    return _newest(simulation, "customer.subscription.updated")


def refund(simulation: Simulation) -> dict[str, Any]:
    """Refund a hundredth of a payment, and return the event about it."""
    simulation.sandbox.refund(simulation.paid_intents[0]["id"], 5)
    return _newest(simulation, "refund.created")


async def every_fault(
    simulation: Simulation,
    make_event: MakeEvent,
    kinds: Iterable[FaultKind],
    *,
    again: Fault | None = None,
) -> int:
    """Inject a fault into each call of a delivery in turn, before and after it is done.

    After each fault the event is delivered again, to the other process, until it is accepted.

    Args:
        simulation: The simulation.
        make_event: Makes a new event for each fault.
        kinds: The kinds of faults.
        again: The fault of the second delivery, if any.

    Returns:
        The number of faults.
    """
    faults = 0
    for kind in kinds:
        for when in WHENS:
            call = 1
            while await _interrupt_and_retry(
                simulation, make_event(simulation), Fault(call, when, kind), again
            ):
                call += 1
            faults += call - 1
    return faults


async def _interrupt_and_retry(
    simulation: Simulation, event: dict[str, Any], first: Fault, second: Fault | None
) -> bool:
    """Return whether the first delivery made enough calls for its fault."""
    before = simulation.injector.injected.total()
    try:
        await _deliver_with_fault(simulation, event, first, to=0)
        was_injected = simulation.injector.injected.total() > before
        if second is not None:
            await _deliver_with_fault(simulation, event, second, to=1)
        await simulation.deliver_waiting()
        await laws.check_all(simulation)
    except LawViolation as violation:
        violation.add_note(
            f"after {first} and {second}; the last calls were {simulation.injector.calls[-24:]}"
        )
        raise
    return was_injected


async def _deliver_with_fault(
    simulation: Simulation, event: dict[str, Any], fault: Fault, *, to: int
) -> None:
    simulation.injector.schedule(fault)
    await simulation.deliver(event, to=to)
    await simulation.settle()
    simulation.injector.clear()
    await laws.check_balances(simulation)


async def two_events_of_one_payment(simulation: Simulation) -> None:
    """Stripe sends two events with different ids about one payment."""
    event = pay(simulation)
    simulation.sandbox.put_event({**event, "id": f"{event['id']}_again"})
    await simulation.deliver_all()
    await laws.check_all(simulation)


async def later_event_of_one_payment(simulation: Simulation) -> None:
    """Stripe sends a second event about a payment whose credits are added."""
    event = pay(simulation)
    await simulation.deliver(event)
    simulation.sandbox.put_event({**event, "id": f"{event['id']}_again"})
    await simulation.deliver_waiting()
    await laws.check_all(simulation)


async def outdated_read_of_subscription(simulation: Simulation) -> None:
    """A process has read a subscription from Stripe, and writes it after it has changed."""
    subscribe(simulation)
    await simulation.deliver_all()
    before = change_subscription(simulation)
    stripe = simulation.processes[0].service.stripe
    retrieve, has_read, may_continue = (
        stripe.retrieve_subscription,
        asyncio.Event(),
        asyncio.Event(),
    )

    async def slow_read(subscription_id: str) -> dict[str, Any]:
        result = await retrieve(subscription_id)
        has_read.set()
        await may_continue.wait()
        return result

    stripe.retrieve_subscription = slow_read  # type: ignore[method-assign]
    slow = asyncio.create_task(simulation.deliver(before, to=0))
    await has_read.wait()
    await simulation.deliver(change_subscription(simulation), to=1)
    may_continue.set()
    await slow
    await simulation.deliver_waiting()
    await laws.check_all(simulation)


async def outdated_read_of_refund(simulation: Simulation) -> None:
    """A process has read a refund from Stripe, and writes it after the refund has failed."""
    pay(simulation)
    await simulation.deliver_all()
    created = refund(simulation)
    stripe = simulation.processes[0].service.stripe
    retrieve, has_read, may_continue = stripe.list_refunds, asyncio.Event(), asyncio.Event()

    async def slow_read(payment_intent_id: str) -> list[dict[str, Any]]:
        result = await retrieve(payment_intent_id)
        has_read.set()
        await may_continue.wait()
        return result

    stripe.list_refunds = slow_read  # type: ignore[method-assign]
    slow = asyncio.create_task(simulation.deliver(created, to=0))
    await has_read.wait()
    simulation.sandbox.settle_refund(created["data"]["object"]["id"], fail=True)
    for event in simulation.waiting:
        if event is not created:
            await simulation.deliver(event, to=1)
    may_continue.set()
    await slow
    await laws.check_all(simulation)


async def two_changes_in_a_second(simulation: Simulation) -> None:
    """Two events with the same `created` are delivered as soon as they happen."""
    subscribe(simulation)
    await simulation.deliver_all()
    simulation.tick(seconds=1)
    for _ in range(2):
        await simulation.deliver(change_subscription(simulation))
    await simulation.deliver_waiting()
    await laws.check_all(simulation)


async def one_event_in_two_processes(simulation: Simulation) -> None:
    """Two processes find that an event is not done, and then commit one after the other."""
    event = pay(simulation)
    await _late_commit(simulation, event, event)
    await simulation.deliver_waiting()
    await laws.check_all(simulation)


async def failed_event(simulation: Simulation) -> None:
    """An event is delivered again after an attempt has failed and was recorded."""
    event = Event.model_validate(pay(simulation))
    service = simulation.processes[0].service
    await service.store.events.record_failure(event, "top-up-credits", "error", service.clock())
    await simulation.deliver_all()
    await laws.check_all(simulation)


async def concurrent_change_of_what_was_read(simulation: Simulation) -> None:
    """Another event changes what a plugin has read, before the plugin commits."""
    event = pay(simulation)
    slow, fast = ({**event, "id": f"{event['id']}_{word}"} for word in ("slow", "fast"))
    await simulation.deliver(event)
    simulation.sandbox.put_event(slow)
    simulation.sandbox.put_event(fast)
    await _late_commit(simulation, slow, fast)
    await simulation.deliver_waiting()
    await laws.check_all(simulation)


async def _late_commit(simulation: Simulation, slow: dict[str, Any], fast: dict[str, Any]) -> None:
    """Deliver an event, and another one before the counting plugin commits the first."""
    store = simulation.processes[0].service.store
    commit, is_committing, may_continue = store.commit, asyncio.Event(), asyncio.Event()

    async def slow_commit(unit: UnitOfWork, mark: Mark) -> Any:
        if mark.plugin_name == "counting":
            is_committing.set()
            await may_continue.wait()
        return await commit(unit, mark)

    store.commit = slow_commit  # type: ignore[method-assign]
    delivery = asyncio.create_task(simulation.deliver(slow, to=0))
    await is_committing.wait()
    await simulation.deliver(fast, to=1)
    may_continue.set()
    await delivery


def _newest(simulation: Simulation, event_type: str) -> dict[str, Any]:
    return next(event for event in simulation.events if event["type"] == event_type)
