"""Follow a subscription: renewed, past due, to be cancelled, on another price."""

from datalayer_stripe import Context, Event, Plugin

plugin = Plugin("subscription-updated", timeout=10, catch_up=True)


@plugin.on("customer.subscription.updated")
async def follow_subscription(event: Event, ctx: Context) -> None:
    # Events come in any order, so this one is only a hint to go and look.
    await ctx.snapshots.refresh_from(event.object)
