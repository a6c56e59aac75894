"""Check the laws of the service: compare the database with the sandbox."""

import asyncio
from collections import Counter
from collections.abc import Collection
from typing import Any

from pymongo.read_concern import ReadConcern

from datalayer_stripe.models import SubscriptionSnapshot
from datalayer_stripe.stripe_api.objects import subscription_snapshot
from datalayer_stripe.testing.shop import PACKAGES
from tests.faults.simulation import LawViolation, Simulation

_CHECK_INTERVAL = 0.003  # seconds

_BALANCES_AND_LEDGER = [
    {"$project": {"balance": "$credits"}},
    {
        "$unionWith": {
            "coll": "ledger",
            "pipeline": [{"$project": {"_id": "$account_uid", "row": "$credits"}}],
        }
    },
    {"$group": {"_id": "$_id", "balance": {"$sum": "$balance"}, "total": {"$sum": "$row"}}},
]


async def check_balances(simulation: Simulation) -> dict[str, int]:
    """Check that each balance is the sum of its ledger rows, and not more than was paid for.

    Returns:
        The balance of each account.
    """
    accounts = simulation.runner.database.accounts.with_options(
        read_concern=ReadConcern("snapshot")
    )
    rows = await (await accounts.aggregate(_BALANCES_AND_LEDGER)).to_list(None)
    simulation.counts["checks_of_the_balances"] += 1
    worth = {account: sum(paid.values()) for account, paid in bought_credits(simulation).items()}
    for row in rows:
        account, balance = row["_id"], row["balance"]
        if balance != row["total"]:
            raise LawViolation(
                f"balances match the ledger: {account} has {balance}, its ledger {row['total']}"
            )
        if balance > worth.get(account, 0):
            raise LawViolation(
                f"exactly once: {account} has {balance}, paid {worth.get(account, 0)}"
            )
    return {row["_id"]: row["balance"] for row in rows}


async def check_balances_until_done(simulation: Simulation, work: asyncio.Future[Any]) -> None:
    """Check the balances again and again until `work` is done."""
    while not work.done():
        await check_balances(simulation)
        await asyncio.wait({work}, timeout=_CHECK_INTERVAL)


async def check_all(simulation: Simulation) -> None:
    """Check every law, after everything has been delivered."""
    balances = await check_balances(simulation)
    rows = await simulation.runner.database.ledger.find().to_list(None)
    _check_payments(simulation, rows)
    taken = _check_reversals(simulation, rows)
    _check_balances_against_payments(simulation, balances, taken)
    await _check_snapshots(simulation)
    await _check_events(simulation)


def bought_credits(simulation: Simulation) -> dict[str, dict[str, int]]:
    """Return, by account, the succeeded PaymentIntents of packages and the credits they bought.

    The credits follow from the amount that was paid, and not from our metadata.
    """
    worth = {amount: credits for credits, amount in PACKAGES.items()}
    found: dict[str, dict[str, int]] = {}
    for intent in simulation.sandbox.backend.store.of_kind("payment_intent"):
        account = intent["metadata"].get("account_uid")
        if account and intent["status"] == "succeeded":
            found.setdefault(account, {})[intent["id"]] = worth[intent["amount_received"]]
    return found


def _check_payments(simulation: Simulation, rows: list[dict[str, Any]]) -> None:
    credited = {
        (row["account_uid"], row["_id"]): row["credits"] for row in rows if row["kind"] == "top-up"
    }
    paid = {
        (account, intent): credits
        for account, intents in bought_credits(simulation).items()
        for intent, credits in intents.items()
    }
    if lost := paid.keys() - credited.keys():
        raise LawViolation(f"no loss: paid and not credited: {sorted(lost)}")
    if credited != paid:
        raise LawViolation(f"exactly once: the ledger has {credited}, paid was {paid}")


def _check_reversals(simulation: Simulation, rows: list[dict[str, Any]]) -> Counter[str]:
    """Check the ledger's reversals; return the credits that are taken back, by account."""
    held = reversed_amounts(simulation)
    ours: Counter[str] = Counter()
    moved: Counter[str] = Counter()
    for row in rows:
        if row["reverses"]:
            ours[row["_id"].partition("-")[0]] -= row["amount"]
            moved[row["reverses"]] -= row["credits"]
    theirs = {cause: amount for causes in held.values() for cause, amount in causes.items()}
    if {cause: amount for cause, amount in ours.items() if amount} != theirs:
        raise LawViolation(
            f"order-independent: the ledger takes back {dict(ours)}, Stripe {theirs}"
        )
    taken: Counter[str] = Counter()
    for account, intents in bought_credits(simulation).items():
        for intent, credits in intents.items():
            amount = simulation.sandbox.get(intent)["amount"]
            due = credits * min(sum(held.get(intent, {}).values()), amount) // amount
            if moved[intent] != due:
                raise LawViolation(f"exactly once: {moved[intent]} are taken back, {due} are due")
            taken[account] += due
    return taken


def reversed_amounts(simulation: Simulation) -> dict[str, dict[str, int]]:
    """Return, by PaymentIntent, the amount of each refund and dispute that counts at Stripe now."""
    found: dict[str, dict[str, int]] = {}
    counting = {"refund": {"succeeded", "pending"}, "dispute": {"needs_response", "lost"}}
    for kind, statuses in counting.items():
        for one in simulation.sandbox.backend.store.of_kind(kind):
            if one["status"] in statuses:
                found.setdefault(one["payment_intent"], {})[one["id"]] = one["amount"]
    return found


def _check_balances_against_payments(
    simulation: Simulation, balances: dict[str, int], taken: Counter[str]
) -> None:
    totals = Counter({who: sum(paid.values()) for who, paid in bought_credits(simulation).items()})
    totals.subtract(taken)
    if +Counter(balances) != +totals:
        raise LawViolation(f"exactly once: balances {balances}, bought {dict(totals)}")


async def check_delivered_snapshots(simulation: Simulation) -> None:
    """Check the snapshots of the subscriptions whose events have all been accepted."""
    await _check_snapshots(simulation, without=simulation.undelivered_subscriptions())


async def _check_snapshots(simulation: Simulation, without: Collection[str] = ()) -> None:
    rows = {row["_id"]: row async for row in simulation.runner.database.subscriptions.find()}
    theirs = {one["id"]: one for one in simulation.subscriptions()}
    if unknown := rows.keys() - theirs.keys():
        raise LawViolation(
            f"order-independent: snapshots of unknown subscriptions: {sorted(unknown)}"
        )
    for subscription_id in theirs.keys() - set(without):
        row = rows.get(subscription_id, {})
        if "status" not in row:
            raise LawViolation(f"no loss: no snapshot of {subscription_id}")
        _check_snapshot(
            simulation, SubscriptionSnapshot.model_validate({**row, "id": subscription_id})
        )


def _check_snapshot(simulation: Simulation, ours: SubscriptionSnapshot) -> None:
    theirs = simulation.sandbox.call(
        "GET",
        f"/v1/subscriptions/{ours.id}",
        expand=["latest_invoice", "items.data.price.product"],
    )
    expected = subscription_snapshot(
        theirs,
        account_uid=theirs["metadata"]["account_uid"],
        product_ids=[simulation.sandbox.plan_product],
    )
    # If a price is renamed at Stripe, no event of the subscription follows. The plan's name is
    # updated with the subscription's next event.
    expected = expected.model_copy(update={"plan_name": ours.plan_name})
    if ours != expected:
        raise LawViolation(f"order-independent: the snapshot has {_difference(ours, expected)}")


def _difference(ours: SubscriptionSnapshot, theirs: SubscriptionSnapshot) -> str:
    there = theirs.model_dump()
    different = {name: value for name, value in ours.model_dump().items() if value != there[name]}
    return "; ".join(f"{name} {value}, Stripe {there[name]}" for name, value in different.items())


async def _check_events(simulation: Simulation) -> None:
    database = simulation.runner.database
    stored = {row["_id"]: row async for row in database.events.find()}
    seen = {row["_id"]: row["n"] async for row in database.plugin_counting.find()}
    if lost := {
        event["id"]: event["type"] for event in simulation.events if event["id"] not in stored
    }:
        raise LawViolation(f"no loss: no document of {lost}")
    of_objects: Counter[str] = Counter()
    for event_id, row in stored.items():
        wanted = {plugin.name for plugin in simulation.registry.plugins_for(row["type"])}
        check_event_is_done(row, wanted)
        if "counting" in wanted:
            of_objects[row["object_id"]] += 1
            if seen.pop(event_id, 0) != 1:
                raise LawViolation(f"exactly once: a plugin did not commit once for {row['type']}")
    if seen != of_objects:
        raise LawViolation(f"exactly once: counted {seen}, expected {dict(of_objects)}")


def check_event_is_done(row: dict[str, Any], wanted: set[str]) -> None:
    """Check that exactly these plugins are done with an event, and its payload is deleted."""
    done = {name for name, run in row["handlers"].items() if run["status"] == "done"}
    if not wanted or done != wanted:
        raise LawViolation(f"no loss: {row['type']} is {row['handlers']}, of {wanted}")
    if row.get("failed") or row.get("rejected"):
        raise LawViolation(f"no loss: {row['type']} is done, but marked as failed or rejected")
    if "payload" in row:
        raise LawViolation(
            f"no personal data: {row['type']} is done, but its payload is still stored"
        )
