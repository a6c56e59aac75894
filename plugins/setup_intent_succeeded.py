"""Charge a subscription's renewals to the card that its owner has just renewed."""

from datalayer_stripe import Context, Event, Plugin

plugin = Plugin("renewed-card", timeout=10, catch_up=True)


@plugin.on("setup_intent.succeeded")
async def use_card(event: Event, ctx: Context) -> None:
    if "subscription_id" not in (event.object.get("metadata") or {}):
        return  # a card that somebody saved elsewhere
    await ctx.plans.use_card(event.object, confirmed_at=event.created)
