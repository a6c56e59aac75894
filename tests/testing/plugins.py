"""Correct plugins, and faulty plugins with one fault each."""

import uuid
from datetime import UTC, datetime

from datalayer_stripe import Context, Event, Plugin, Retry

PAID = "payment_intent.succeeded"


def counting() -> Plugin:
    """Return a plugin that counts with an operator."""
    plugin = Plugin("counting")

    @plugin.on(PAID)
    async def count(event: Event, ctx: Context) -> None:
        of_account = {"_id": event.object["metadata"]["account_uid"]}
        ctx.collection.update_one(of_account, {"$inc": {"n": 1}}, upsert=True)

    return plugin


def deferred() -> Plugin:
    """Return a deferred plugin that calls Stripe with an idempotency key."""
    plugin = Plugin("deferred")

    @plugin.on(PAID, deferred=True)
    async def count(event: Event, ctx: Context) -> None:
        await make_customer(event, ctx, key=event.id)
        ctx.collection.update_one({"_id": "all"}, {"$inc": {"n": 1}}, upsert=True)

    return plugin


def expecting() -> Plugin:
    """Return a plugin that writes only if what it has read is unchanged."""
    plugin = Plugin("expecting")

    @plugin.on(PAID)
    async def count(event: Event, ctx: Context) -> None:
        known = await ctx.collection.find_one({"_id": "all"})
        if known is None:
            ctx.collection.insert_one({"_id": "all", "n": 1, "at": ctx.now})
        else:
            one_more = {"$set": {"n": known["n"] + 1}}
            ctx.collection.update_one({"_id": "all"}, one_more, expect={"n": known["n"]})

    return plugin


def without_ids() -> Plugin:
    """Return a plugin that inserts documents without an `_id`."""
    plugin = Plugin("without-ids")

    @plugin.on(PAID)
    async def keep(event: Event, ctx: Context) -> None:
        ctx.collection.insert_one({"payment": event.object["id"]})

    return plugin


async def make_customer(event: Event, ctx: Context, key: str) -> None:
    await ctx.stripe.create_customer(
        email=None, name="Alice", metadata={"account_uid": "alice"}, idempotency_key=key
    )


# Faulty plugins


def racing() -> Plugin:
    """Return a plugin that overwrites concurrent updates."""
    plugin = Plugin("racing")

    @plugin.on(PAID)
    async def count(event: Event, ctx: Context) -> None:
        known = await ctx.collection.find_one({"_id": "all"}) or {"n": 0}
        ctx.collection.update_one({"_id": "all"}, {"$set": {"n": known["n"] + 1}}, upsert=True)

    return plugin


def racing_deferred() -> Plugin:
    """Return a deferred plugin that overwrites concurrent updates."""
    plugin = Plugin("racing-deferred")

    @plugin.on(PAID, deferred=True)
    async def count(event: Event, ctx: Context) -> None:
        known = await ctx.collection.find_one({"_id": "all"}) or {"n": 0}
        ctx.collection.update_one({"_id": "all"}, {"$set": {"n": known["n"] + 1}}, upsert=True)

    return plugin


def counting_in_module() -> Plugin:
    """Return a plugin that keeps its state in the module."""
    plugin = Plugin("counting-in-module")
    seen = []

    @plugin.on(PAID)
    async def count(event: Event, ctx: Context) -> None:
        seen.append(event.id)
        ctx.collection.update_one({"_id": "all"}, {"$set": {"n": len(seen)}}, upsert=True)

    return plugin


def keyless() -> Plugin:
    """Return a plugin that creates an object at Stripe with another idempotency key in each run."""
    plugin = Plugin("keyless")

    @plugin.on(PAID)
    async def make(event: Event, ctx: Context) -> None:
        await make_customer(event, ctx, key=uuid.uuid4().hex)

    return plugin


def keyless_deferred() -> Plugin:
    """Return a deferred plugin that creates an object at Stripe with another key in each run."""
    plugin = Plugin("keyless-deferred")

    @plugin.on(PAID, deferred=True)
    async def make(event: Event, ctx: Context) -> None:
        await make_customer(event, ctx, key=uuid.uuid4().hex)

    return plugin


def last_wins() -> Plugin:
    """Return a plugin that stores what was delivered last."""
    plugin = Plugin("last-wins")

    @plugin.on(PAID)
    async def keep(event: Event, ctx: Context) -> None:
        latest = {"$set": {"amount": event.object["amount"]}}
        ctx.collection.update_one({"_id": "latest"}, latest, upsert=True)

    return plugin


def bypassing_context() -> Plugin:
    """Return a plugin that writes to the database without its context, before the commit."""
    plugin = Plugin("bypassing-context")

    @plugin.on(PAID)
    async def write(event: Event, ctx: Context) -> None:
        store = ctx.collection._store
        own = store._database[ctx.collection.name]
        await own.update_one({"_id": "all"}, {"$inc": {"n": 1}}, upsert=True)

    return plugin


def random_tokens() -> Plugin:
    """Return a plugin that stores a random token."""
    plugin = Plugin("random-tokens")

    @plugin.on(PAID)
    async def keep(event: Event, ctx: Context) -> None:
        ctx.collection.insert_one({"_id": event.id, "token": uuid.uuid4().hex})

    return plugin


def own_clock() -> Plugin:
    """Return a plugin that stores the system's time instead of `ctx.now`."""
    plugin = Plugin("own-clock")

    @plugin.on(PAID)
    async def keep(event: Event, ctx: Context) -> None:
        ctx.collection.insert_one({"_id": event.id, "at": datetime.now(UTC).isoformat()})

    return plugin


def failing() -> Plugin:
    """Return a plugin that always fails."""
    plugin = Plugin("failing")

    @plugin.on(PAID)
    async def fail(event: Event, ctx: Context) -> None:
        raise ZeroDivisionError("nothing to share")

    return plugin


class Mailing:
    """A plugin that sends mails; with a key, the receiver ignores duplicates."""

    def __init__(self, *, with_key: bool) -> None:
        self.mails: list[str] = []
        self.plugin = plugin = Plugin("mailing")

        @plugin.on(PAID)
        async def mail(event: Event, ctx: Context) -> None:
            if not (with_key and event.id in self.mails):
                self.mails.append(event.id)

    def observe(self) -> list[str]:
        """Return the mails since the last call."""
        mails = list(self.mails)
        self.mails.clear()
        return mails


class FailingTwice:
    """A plugin whose first two runs in each scenario fail."""

    def __init__(self) -> None:
        self.failures_left = 2
        self.plugin = plugin = Plugin("failing-twice")

        @plugin.on(PAID)
        async def count(event: Event, ctx: Context) -> None:
            if self.failures_left:
                self.failures_left -= 1
                raise Retry("not yet")
            ctx.collection.update_one({"_id": event.id}, {"$inc": {"n": 1}}, upsert=True)

    def observe(self) -> None:
        """Start again; called before each scenario."""
        self.failures_left = 2
