"""Take back the credits of a refunded top-up, and give them again when a refund fails."""

from datalayer_stripe import Context, Event, Plugin

plugin = Plugin("refunds", moves_money=True, timeout=10, catch_up=True)


@plugin.on("charge.refunded", "refund.created", "refund.updated", "refund.failed")
async def follow_refunds(event: Event, ctx: Context) -> None:
    # Events come in any order, so this one is only a hint to go and look.
    await ctx.reversals.refresh_from(event.object)
