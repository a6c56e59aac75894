"""Take back the credits of a disputed top-up, and return them if the dispute is won."""

from datalayer_stripe import Context, Event, Plugin

plugin = Plugin("disputes", moves_money=True, timeout=10, catch_up=True)


@plugin.on(
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "charge.dispute.closed",
)
async def apply_disputes(event: Event, ctx: Context) -> None:
    # Events come in any order. The present disputes are read from Stripe.
    await ctx.reversals.refresh_from(event.object)
