"""Update the snapshot of a subscription that has ended."""

from datalayer_stripe import Context, Event, Plugin

plugin = Plugin("subscription-deleted", timeout=10, catch_up=True)


@plugin.on("customer.subscription.deleted")
async def update_snapshot(event: Event, ctx: Context) -> None:
    # Stripe still returns a subscription that has ended.
    await ctx.snapshots.refresh_from(event.object)
