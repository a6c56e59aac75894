"""A plugin that counts its committed runs, and fails on demand."""

from datalayer_stripe import Context, Event, Plugin, Retry

TYPES = (
    "payment_intent.succeeded",
    "customer.subscription.created",
    "customer.subscription.updated",
    "customer.subscription.deleted",
    "invoice.paid",
    "invoice.payment_failed",
)


class CountingPlugin:
    """Counts the runs of each event, and the events of each object.

    It counts the former with an atomic operator, and the latter with an expectation of what it has
    read.

    Attributes:
        failures_left: How many of the next runs raise `Retry`.
    """

    def __init__(self) -> None:
        self.failures_left = 0
        plugin = Plugin("counting", catch_up=True)

        @plugin.on(*TYPES)
        async def count_event(event: Event, ctx: Context) -> None:
            ctx.collection.update_one({"_id": event.id}, {"$inc": {"n": 1}}, upsert=True)
            found = await ctx.collection.find_one({"_id": event.object_id})
            if found is None:
                ctx.collection.insert_one({"_id": event.object_id, "n": 1})
            else:
                one_more = {"$set": {"n": found["n"] + 1}}
                expected = {"n": found["n"]}
                ctx.collection.update_one({"_id": event.object_id}, one_more, expect=expected)
            if self.failures_left:
                self.failures_left -= 1
                raise Retry("a failure on demand")

        self.plugins = (plugin,)
