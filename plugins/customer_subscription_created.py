"""Write the snapshot of a new subscription."""

from datalayer_stripe import Context, Event, Plugin

plugin = Plugin("subscription-created", timeout=10, catch_up=True)


@plugin.on("customer.subscription.created")
async def write_snapshot(event: Event, ctx: Context) -> None:
    # Events come in any order. The subscription is read from Stripe.
    await ctx.snapshots.refresh_from(event.object)
