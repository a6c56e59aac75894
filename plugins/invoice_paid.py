"""Update the snapshot of a subscription whose invoice was paid."""

from datalayer_stripe import Context, Event, Plugin

plugin = Plugin("invoice-paid", timeout=10, catch_up=True)


@plugin.on("invoice.paid")
async def update_snapshot(event: Event, ctx: Context) -> None:
    # The subscription's own event may come later. The subscription is read from Stripe.
    await ctx.snapshots.refresh_from(event.object)
