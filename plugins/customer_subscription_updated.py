"""Update the snapshot of a subscription that was renewed, cancelled or changed."""

from datalayer_stripe import Context, Event, Plugin

plugin = Plugin("subscription-updated", timeout=10, catch_up=True)


@plugin.on("customer.subscription.updated")
async def update_snapshot(event: Event, ctx: Context) -> None:
    # Events come in any order. The subscription is read from Stripe.
    await ctx.snapshots.refresh_from(event.object)
