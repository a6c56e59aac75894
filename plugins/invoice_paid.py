"""Show that a subscription is paid for, as soon as its invoice is."""

from datalayer_stripe import Context, Event, Plugin

plugin = Plugin("invoice-paid", timeout=10, catch_up=True)


@plugin.on("invoice.paid")
async def follow_payment(event: Event, ctx: Context) -> None:
    # The subscription's own event may come before or after this one.
    await ctx.snapshots.refresh_from(event.object)
