"""End the snapshot of a subscription that has ended."""

from datalayer_stripe import Context, Event, Plugin

plugin = Plugin("subscription-deleted", timeout=10, catch_up=True)


@plugin.on("customer.subscription.deleted")
async def end_subscription(event: Event, ctx: Context) -> None:
    # The id is never used again, and Stripe still answers for it.
    await ctx.snapshots.refresh_from(event.object)
