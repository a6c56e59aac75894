"""Charge a subscription's renewals to the card that its owner has just saved."""

from datalayer_stripe import Context, Event, Plugin

plugin = Plugin("renewed-card", timeout=10, catch_up=True)


@plugin.on("setup_intent.succeeded")
async def use_saved_card(event: Event, ctx: Context) -> None:
    await ctx.cards.use(event.object, confirmed_at=event.created)
