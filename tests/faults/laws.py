"""The laws of the service, checked from outside: MongoDB beside the sandbox."""

import asyncio
from collections import Counter
from collections.abc import Collection
from typing import Any

from pymongo.read_concern import ReadConcern

from datalayer_stripe.models import SubscriptionSnapshot
from datalayer_stripe.stripe_api.objects import subscription_snapshot
from tests.faults.world import CREDITS, LawBroken, World

_BETWEEN_LOOKS = 0.003  # seconds

_BALANCE_BESIDE_LEDGER = [
    {"$project": {"balance": "$credits"}},
    {
        "$unionWith": {
            "coll": "ledger",
            "pipeline": [{"$project": {"_id": "$account_uid", "row": "$credits"}}],
        }
    },
    {"$group": {"_id": "$_id", "balance": {"$sum": "$balance"}, "total": {"$sum": "$row"}}},
]


async def books_balance(world: World) -> dict[str, int]:
    """At this very moment each balance is its ledger's sum, and no more than was paid for."""
    accounts = world.stage.database.accounts.with_options(read_concern=ReadConcern("snapshot"))
    rows = await accounts.aggregate(_BALANCE_BESIDE_LEDGER).to_list(None)
    world.counts["checks_of_the_books"] += 1
    worth = {account: sum(paid.values()) for account, paid in payments(world).items()}
    for row in rows:
        account, balance = row["_id"], row["balance"]
        if balance != row["total"]:
            raise LawBroken(f"books balance: {account} has {balance}, its ledger {row['total']}")
        if balance > worth.get(account, 0):
            raise LawBroken(f"exactly once: {account} has {balance}, paid {worth.get(account, 0)}")
    return {row["_id"]: row["balance"] for row in rows}


async def watch(world: World, work: asyncio.Future[Any]) -> None:
    """Look at the books again and again while something is under way."""
    while not work.done():
        await books_balance(world)
        await asyncio.wait({work}, timeout=_BETWEEN_LOOKS)


async def all_kept(world: World) -> None:
    """Every law, once everything has been delivered."""
    balances = await books_balance(world)
    rows = await world.stage.database.ledger.find().to_list(None)
    _each_payment_is_credited(world, rows)
    taken = _each_reversal_is_taken(world, rows)
    _each_balance_is_what_was_bought(world, balances, taken)
    await _each_snapshot_is_stripes(world)
    await _each_event_is_done_once(world)


def payments(world: World) -> dict[str, dict[str, int]]:
    """By account, the succeeded PaymentIntents of packages, and the credits that they bought.

    What they bought is read off the amount that was paid, not off our metadata.
    """
    worth = dict(zip((500, 2000, 5000), CREDITS, strict=True))
    found: dict[str, dict[str, int]] = {}
    for intent in world.sandbox.backend.store.of_kind("payment_intent"):
        account = intent["metadata"].get("account_uid")
        if account and intent["status"] == "succeeded":
            found.setdefault(account, {})[intent["id"]] = worth[intent["amount_received"]]
    return found


def _each_payment_is_credited(world: World, rows: list[dict[str, Any]]) -> None:
    credited = {
        (row["account_uid"], row["_id"]): row["credits"] for row in rows if row["kind"] == "top-up"
    }
    paid = {
        (account, intent): credits
        for account, intents in payments(world).items()
        for intent, credits in intents.items()
    }
    if lost := paid.keys() - credited.keys():
        raise LawBroken(f"no loss: paid and not credited: {sorted(lost)}")
    if credited != paid:
        raise LawBroken(f"exactly once: the ledger has {credited}, paid was {paid}")


def _each_reversal_is_taken(world: World, rows: list[dict[str, Any]]) -> Counter[str]:
    """By account, the credits that refunds and disputes have taken back: what Stripe says."""
    held = held_back(world)
    ours: Counter[str] = Counter()
    moved: Counter[str] = Counter()
    for row in rows:
        if row["reverses"]:
            ours[row["_id"].partition("-")[0]] -= row["amount"]
            moved[row["reverses"]] -= row["credits"]
    theirs = {cause: amount for causes in held.values() for cause, amount in causes.items()}
    if {cause: amount for cause, amount in ours.items() if amount} != theirs:
        raise LawBroken(f"order-free: the ledger holds back {dict(ours)}, Stripe {theirs}")
    taken: Counter[str] = Counter()
    for account, intents in payments(world).items():
        for intent, credits in intents.items():
            amount = world.sandbox.get(intent)["amount"]
            due = credits * min(sum(held.get(intent, {}).values()), amount) // amount
            if moved[intent] != due:
                raise LawBroken(f"exactly once: {moved[intent]} are taken back, {due} are due")
            taken[account] += due
    return taken


def held_back(world: World) -> dict[str, dict[str, int]]:
    """By PaymentIntent, what each refund and each dispute holds back of it at Stripe now."""
    found: dict[str, dict[str, int]] = {}
    counting = {"refund": {"succeeded", "pending"}, "dispute": {"needs_response", "lost"}}
    for kind, statuses in counting.items():
        for one in world.sandbox.backend.store.of_kind(kind):
            if one["status"] in statuses:
                found.setdefault(one["payment_intent"], {})[one["id"]] = one["amount"]
    return found


def _each_balance_is_what_was_bought(
    world: World, balances: dict[str, int], taken: Counter[str]
) -> None:
    totals = Counter({who: sum(paid.values()) for who, paid in payments(world).items()})
    totals.subtract(taken)
    if +Counter(balances) != +totals:
        raise LawBroken(f"exactly once: balances {balances}, bought {dict(totals)}")


async def told_snapshots_are_stripes(world: World) -> None:
    """A subscription whose events have all been accepted looks as it does at Stripe."""
    await _each_snapshot_is_stripes(world, besides=world.untold_subscriptions())


async def _each_snapshot_is_stripes(world: World, besides: Collection[str] = ()) -> None:
    rows = {row["_id"]: row async for row in world.stage.database.subscriptions.find()}
    theirs = {one["id"]: one for one in world.subscriptions()}
    if unknown := rows.keys() - theirs.keys():
        raise LawBroken(f"order-free: snapshots of nothing: {sorted(unknown)}")
    for subscription_id in theirs.keys() - set(besides):
        row = rows.get(subscription_id, {})
        if "status" not in row:
            raise LawBroken(f"no loss: no snapshot of {subscription_id}")
        _is_equal(world, SubscriptionSnapshot.model_validate({**row, "id": subscription_id}))


def _is_equal(world: World, ours: SubscriptionSnapshot) -> None:
    theirs = world.sandbox.call(
        "GET",
        f"/v1/subscriptions/{ours.id}",
        expand=["latest_invoice", "items.data.price.product"],
    )
    expected = subscription_snapshot(
        theirs,
        account_uid=theirs["metadata"]["account_uid"],
        product_ids=[world.shop.plan_product],
    )
    # What the price is called is Stripe's to change without a word of the subscription: our
    # copy follows at the subscription's next event.
    expected = expected.model_copy(update={"plan_name": ours.plan_name})
    if ours != expected:
        raise LawBroken(f"order-free: the snapshot has {_difference(ours, expected)}")


def _difference(ours: SubscriptionSnapshot, theirs: SubscriptionSnapshot) -> str:
    there = theirs.model_dump()
    different = {name: value for name, value in ours.model_dump().items() if value != there[name]}
    return "; ".join(f"{name} {value}, Stripe {there[name]}" for name, value in different.items())


async def _each_event_is_done_once(world: World) -> None:
    database = world.stage.database
    stored = {row["_id"]: row async for row in database.events.find()}
    seen = {row["_id"]: row["n"] async for row in database.plugin_witness.find()}
    if lost := {event["id"]: event["type"] for event in world.events if event["id"] not in stored}:
        raise LawBroken(f"no loss: no trace of {lost}")
    of_objects: Counter[str] = Counter()
    for event_id, row in stored.items():
        wanted = {plugin.name for plugin in world.registry.plugins_for(row["type"])}
        _is_done(row, wanted)
        if "witness" in wanted:
            of_objects[row["object_id"]] += 1
            if seen.pop(event_id, 0) != 1:
                raise LawBroken(f"exactly once: a plugin was not done once for {row['type']}")
    if seen != of_objects:
        raise LawBroken(f"exactly once: counted {seen}, there were {dict(of_objects)}")


def _is_done(row: dict[str, Any], wanted: set[str]) -> None:
    done = {name for name, run in row["handlers"].items() if run["status"] == "done"}
    if not wanted or done != wanted:
        raise LawBroken(f"no loss: {row['type']} is {row['handlers']}, of {wanted}")
    if row.get("failed") or row.get("rejected"):
        raise LawBroken(f"no loss: {row['type']} is done, and looks as if it was not")
    if "payload" in row:
        raise LawBroken(f"no trace of people: {row['type']} is done, and its payload is kept")
