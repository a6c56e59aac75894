"""Take a new subscription into our snapshots."""

from datalayer_stripe import Context, Event, Plugin

plugin = Plugin("subscription-created", timeout=10, catch_up=True)


@plugin.on("customer.subscription.created")
async def keep_subscription(event: Event, ctx: Context) -> None:
    # Events come in any order, so this one is only a hint to go and look.
    await ctx.snapshots.refresh_from(event.object)
