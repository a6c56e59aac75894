"""A plugin whose writes show how often it was done, and which fails when told to."""

from datalayer_stripe import Context, Event, Plugin, Retry

TYPES = (
    "payment_intent.succeeded",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "invoice.paid",
    "invoice.payment_failed",
)


class Witness:
    """Counts each event, and the events of each object, in documents of its own.

    The first by an atomic operator, the second by a write that says what it expects to find.
    """

    def __init__(self) -> None:
        self.stumbles = 0
        plugin = Plugin("witness", catch_up=True)

        @plugin.on(*TYPES)
        async def note(event: Event, ctx: Context) -> None:
            ctx.collection.update_one({"_id": event.id}, {"$inc": {"n": 1}}, upsert=True)
            found = await ctx.collection.find_one({"_id": event.object_id})
            if found is None:
                ctx.collection.insert_one({"_id": event.object_id, "n": 1})
            else:
                one_more = {"$set": {"n": found["n"] + 1}}
                expected = {"n": found["n"]}
                ctx.collection.update_one({"_id": event.object_id}, one_more, expect=expected)
            if self.stumbles:
                self.stumbles -= 1
                raise Retry("stumbled")

        self.plugins = (plugin,)
