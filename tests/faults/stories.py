"""Stories that put their finger where a guard is: each ends with every law checked."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from datalayer_stripe.store.events import Mark
from datalayer_stripe.store.unit_of_work import UnitOfWork
from tests.faults import laws
from tests.faults.injection import Cut, Kind
from tests.faults.world import LawBroken, World

Happening = Callable[[World], dict[str, Any]]


def a_payment(world: World) -> dict[str, Any]:
    """Somebody pays for a package; the event that says so."""
    intent = world.sandbox.call(
        "POST",
        "/v1/payment_intents",
        amount=500,
        currency="usd",
        metadata={"account_uid": "ada", "price_id": world.shop.packages[0], "credits": "50"},
    )
    world.pay(intent["id"], "good")
    return _newest(world, "payment_intent.succeeded")


def a_subscription(world: World) -> dict[str, Any]:
    """Somebody subscribes; the event that says so."""
    customer = world.sandbox.create_customer()["id"]
    made = world.sandbox.call(
        "POST",
        "/v1/subscriptions",
        customer=customer,
        items=[{"price": world.shop.plan}],
        payment_behavior="default_incomplete",
        metadata={"account_uid": "ada"},
    )
    world.sandbox.pay_invoice(made["latest_invoice"])
    return _newest(world, "customer.subscription.updated")


def a_change(world: World) -> dict[str, Any]:
    """The owner cancels the subscription at its period's end, or takes that back."""
    [subscription] = world.subscriptions("active")
    world.sandbox.call(
        "POST",
        f"/v1/subscriptions/{subscription['id']}",
        cancel_at_period_end=not subscription["cancel_at_period_end"],
    )
    return _newest(world, "customer.subscription.updated")


def a_refund(world: World) -> dict[str, Any]:
    """A hundredth of a payment goes back to its payer; the event that says so."""
    world.sandbox.refund(world.paid[0]["id"], 5)
    return _newest(world, "refund.created")


async def every_cut(
    world: World, happen: Happening, kinds: Iterable[Kind], *, again: Cut | None = None
) -> int:
    """Cut a delivery at each of its calls in turn, before and after; return how many that were.

    After each cut the event comes again, to the other process, until it is accepted; the second
    delivery is cut as `again` says.
    """
    cuts = 0
    for kind in kinds:
        for when in ("before", "after"):
            call = 1
            while await _cut_and_come_again(world, happen(world), Cut(call, when, kind), again):
                call += 1
            cuts += call - 1
    return cuts


async def _cut_and_come_again(
    world: World, event: dict[str, Any], first: Cut, second: Cut | None
) -> bool:
    """Whether the first delivery had as many calls."""
    struck = world.faults.struck.total()
    try:
        await _deliver_cut(world, event, first, to=0)
        was_struck = world.faults.struck.total() > struck
        if second is not None:
            await _deliver_cut(world, event, second, to=1)
        await world.deliver_waiting()
        await laws.all_kept(world)
    except LawBroken as broken:
        broken.add_note(f"after {first} and {second}, which struck {world.faults.calls[-24:]}")
        raise
    return was_struck


async def _deliver_cut(world: World, event: dict[str, Any], cut: Cut, *, to: int) -> None:
    world.faults.arm(cut)
    await world.deliver(event, to=to)
    await world.settle()
    world.faults.disarm()
    await laws.books_balance(world)


async def two_events_one_payment(world: World) -> None:
    """Stripe tells of one payment twice, under two event ids."""
    event = a_payment(world)
    world.sandbox.put_event({**event, "id": f"{event['id']}_again"})
    await world.deliver_all()
    await laws.all_kept(world)


async def an_overtaken_look(world: World) -> None:
    """One process has looked at Stripe, and writes what it saw when that is true no longer."""
    a_subscription(world)
    await world.deliver_all()
    before = a_change(world)
    stripe = world.processes[0].service.stripe
    look, looked, may_go_on = stripe.retrieve_subscription, asyncio.Event(), asyncio.Event()

    async def slow_look(subscription_id: str) -> dict[str, Any]:
        seen = await look(subscription_id)
        looked.set()
        await may_go_on.wait()
        return seen

    stripe.retrieve_subscription = slow_look  # type: ignore[method-assign]
    slow = asyncio.create_task(world.deliver(before, to=0))
    await looked.wait()
    await world.deliver(a_change(world), to=1)
    may_go_on.set()
    await slow
    await world.deliver_waiting()
    await laws.all_kept(world)


async def an_overtaken_refund(world: World) -> None:
    """One process has looked at a refund, and writes what it saw when the refund has failed."""
    a_payment(world)
    await world.deliver_all()
    created = a_refund(world)
    stripe = world.processes[0].service.stripe
    look, looked, may_go_on = stripe.list_refunds, asyncio.Event(), asyncio.Event()

    async def slow_look(payment_intent_id: str) -> list[dict[str, Any]]:
        seen = await look(payment_intent_id)
        looked.set()
        await may_go_on.wait()
        return seen

    stripe.list_refunds = slow_look  # type: ignore[method-assign]
    slow = asyncio.create_task(world.deliver(created, to=0))
    await looked.wait()
    world.sandbox.settle_refund(created["data"]["object"]["id"], fail=True)
    for event in world.waiting:
        if event is not created:
            await world.deliver(event, to=1)
    may_go_on.set()
    await slow
    await laws.all_kept(world)


async def two_changes_in_a_second(world: World) -> None:
    """Two events of one `created`, each delivered as soon as it happens."""
    a_subscription(world)
    await world.deliver_all()
    world.tick(seconds=1)
    for _ in range(2):
        await world.deliver(a_change(world))
    await world.deliver_waiting()
    await laws.all_kept(world)


async def two_processes_one_event(world: World) -> None:
    """Two processes find that nothing is done yet, and then commit one after the other."""
    event = a_payment(world)
    await _late_commit(world, event, event)
    await world.deliver_waiting()
    await laws.all_kept(world)


async def a_read_that_has_changed(world: World) -> None:
    """Between a plugin's read and its commit another event changes what was read."""
    event = a_payment(world)
    slow, quick = ({**event, "id": f"{event['id']}_{word}"} for word in ("slow", "quick"))
    await world.deliver(event)
    world.sandbox.put_event(slow)
    world.sandbox.put_event(quick)
    await _late_commit(world, slow, quick)
    await world.deliver_waiting()
    await laws.all_kept(world)


async def _late_commit(world: World, slow: dict[str, Any], quick: dict[str, Any]) -> None:
    """Deliver an event, and another one while the witness of the first is about to commit."""
    store = world.processes[0].service.store
    commit, about_to, may_go_on = store.commit, asyncio.Event(), asyncio.Event()

    async def slow_commit(unit: UnitOfWork, mark: Mark) -> Any:
        if mark.plugin_name == "witness":
            about_to.set()
            await may_go_on.wait()
        return await commit(unit, mark)

    store.commit = slow_commit  # type: ignore[method-assign]
    delivery = asyncio.create_task(world.deliver(slow, to=0))
    await about_to.wait()
    await world.deliver(quick, to=1)
    may_go_on.set()
    await delivery


def _newest(world: World, event_type: str) -> dict[str, Any]:
    return next(event for event in world.events if event["type"] == event_type)
