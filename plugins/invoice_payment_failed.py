"""Show that a renewal was not paid, as soon as its invoice says so."""

from datalayer_stripe import Context, Event, Plugin

plugin = Plugin("invoice-payment-failed", timeout=10, catch_up=True)


@plugin.on("invoice.payment_failed")
async def follow_failure(event: Event, ctx: Context) -> None:
    # The subscription's own event may come before or after this one.
    await ctx.snapshots.refresh_from(event.object)
