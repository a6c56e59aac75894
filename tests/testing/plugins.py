"""Plugins that do it right, and plugins each with one fault."""

import uuid
from datetime import UTC, datetime

from datalayer_stripe import Context, Event, Plugin, Retry

PAID = "payment_intent.succeeded"


def counting() -> Plugin:
    """Counts by an operator."""
    plugin = Plugin("counting")

    @plugin.on(PAID)
    async def count(event: Event, ctx: Context) -> None:
        of_account = {"_id": event.object["metadata"]["account_uid"]}
        ctx.collection.update_one(of_account, {"$inc": {"n": 1}}, upsert=True)

    return plugin


def deferred() -> Plugin:
    """Counts, later, and calls Stripe with a key."""
    plugin = Plugin("deferred")

    @plugin.on(PAID, deferred=True)
    async def count(event: Event, ctx: Context) -> None:
        await make_customer(event, ctx, key=event.id)
        ctx.collection.update_one({"_id": "all"}, {"$inc": {"n": 1}}, upsert=True)

    return plugin


def expecting() -> Plugin:
    """Reads, and says what it has read."""
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


def nameless() -> Plugin:
    """Inserts what has no `_id` of its own: it is kept together with the mark all the same."""
    plugin = Plugin("nameless")

    @plugin.on(PAID)
    async def keep(event: Event, ctx: Context) -> None:
        ctx.collection.insert_one({"payment": event.object["id"]})

    return plugin


async def make_customer(event: Event, ctx: Context, key: str) -> None:
    await ctx.stripe.create_customer(
        email=None, name="Alice", metadata={"account_uid": "alice"}, idempotency_key=key
    )


# With a fault


def racing() -> Plugin:
    """Reads, and writes as if nobody else did."""
    plugin = Plugin("racing")

    @plugin.on(PAID)
    async def count(event: Event, ctx: Context) -> None:
        known = await ctx.collection.find_one({"_id": "all"}) or {"n": 0}
        ctx.collection.update_one({"_id": "all"}, {"$set": {"n": known["n"] + 1}}, upsert=True)

    return plugin


def racing_later() -> Plugin:
    """The same, deferred."""
    plugin = Plugin("racing-later")

    @plugin.on(PAID, deferred=True)
    async def count(event: Event, ctx: Context) -> None:
        known = await ctx.collection.find_one({"_id": "all"}) or {"n": 0}
        ctx.collection.update_one({"_id": "all"}, {"$set": {"n": known["n"] + 1}}, upsert=True)

    return plugin


def remembering() -> Plugin:
    """Counts in the module."""
    plugin = Plugin("remembering")
    seen = []

    @plugin.on(PAID)
    async def count(event: Event, ctx: Context) -> None:
        seen.append(event.id)
        ctx.collection.update_one({"_id": "all"}, {"$set": {"n": len(seen)}}, upsert=True)

    return plugin


def keyless() -> Plugin:
    """Makes an object at Stripe by a key of its own for each run."""
    plugin = Plugin("keyless")

    @plugin.on(PAID)
    async def make(event: Event, ctx: Context) -> None:
        await make_customer(event, ctx, key=uuid.uuid4().hex)

    return plugin


def keyless_later() -> Plugin:
    """The same, deferred."""
    plugin = Plugin("keyless-later")

    @plugin.on(PAID, deferred=True)
    async def make(event: Event, ctx: Context) -> None:
        await make_customer(event, ctx, key=uuid.uuid4().hex)

    return plugin


def last_wins() -> Plugin:
    """Keeps what came last."""
    plugin = Plugin("last-wins")

    @plugin.on(PAID)
    async def keep(event: Event, ctx: Context) -> None:
        latest = {"$set": {"amount": event.object["amount"]}}
        ctx.collection.update_one({"_id": "latest"}, latest, upsert=True)

    return plugin


def writing_by_itself() -> Plugin:
    """Writes before the commit, past its context."""
    plugin = Plugin("writing-by-itself")

    @plugin.on(PAID)
    async def write(event: Event, ctx: Context) -> None:
        store = ctx.collection._store
        own = store._database[ctx.collection.name]
        await own.update_one({"_id": "all"}, {"$inc": {"n": 1}}, upsert=True)

    return plugin


def random_ones() -> Plugin:
    """Keeps what is different in each run."""
    plugin = Plugin("random-ones")

    @plugin.on(PAID)
    async def keep(event: Event, ctx: Context) -> None:
        ctx.collection.insert_one({"_id": event.id, "token": uuid.uuid4().hex})

    return plugin


def own_clock() -> Plugin:
    """Has a clock of its own."""
    plugin = Plugin("own-clock")

    @plugin.on(PAID)
    async def keep(event: Event, ctx: Context) -> None:
        ctx.collection.insert_one({"_id": event.id, "at": datetime.now(UTC).isoformat()})

    return plugin


def failing() -> Plugin:
    """Fails each time."""
    plugin = Plugin("failing")

    @plugin.on(PAID)
    async def fail(event: Event, ctx: Context) -> None:
        raise ZeroDivisionError("nothing to share")

    return plugin


class Mailing:
    """Tells somebody outside, in a way that they may hear twice."""

    def __init__(self, *, with_key: bool) -> None:
        self.mails: list[str] = []
        self.plugin = plugin = Plugin("mailing")

        @plugin.on(PAID)
        async def mail(event: Event, ctx: Context) -> None:
            if not (with_key and event.id in self.mails):
                self.mails.append(event.id)

    def observe(self) -> list[str]:
        """What came in since the last time."""
        mails = list(self.mails)
        self.mails.clear()
        return mails


class Shy:
    """A plugin that fails twice in each course before it does it right."""

    def __init__(self) -> None:
        self.failures_left = 2
        self.plugin = plugin = Plugin("shy")

        @plugin.on(PAID)
        async def count(event: Event, ctx: Context) -> None:
            if self.failures_left:
                self.failures_left -= 1
                raise Retry("not yet")
            ctx.collection.update_one({"_id": event.id}, {"$inc": {"n": 1}}, upsert=True)

    def observe(self) -> None:
        """Begin again: it is called before each course."""
        self.failures_left = 2
