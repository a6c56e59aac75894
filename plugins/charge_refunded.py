"""Take back the credits of a refunded top-up, and return them if the refund fails."""

from datalayer_stripe import Context, Event, Plugin

plugin = Plugin("refunds", moves_money=True, timeout=10, catch_up=True)


@plugin.on("charge.refunded", "refund.created", "refund.updated", "refund.failed")
async def apply_refunds(event: Event, ctx: Context) -> None:
    # Events come in any order. The present refunds are read from Stripe.
    await ctx.reversals.refresh_from(event.object)
