"""Update the snapshot of a subscription whose renewal was not paid."""

from datalayer_stripe import Context, Event, Plugin

plugin = Plugin("invoice-payment-failed", timeout=10, catch_up=True)


@plugin.on("invoice.payment_failed")
async def update_snapshot(event: Event, ctx: Context) -> None:
    # The subscription's own event may come later. The subscription is read from Stripe.
    await ctx.snapshots.refresh_from(event.object)
