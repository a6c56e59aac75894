"""Show new prices at once: drop the cached ones when Stripe says that something changed."""

from datalayer_stripe import Context, Event, Plugin

plugin = Plugin("catalog-changed", catch_up=True)


@plugin.on(
    "price.created",
    "price.updated",
    "price.deleted",
    "product.created",
    "product.updated",
    "product.deleted",
)
async def forget_prices(_: Event, ctx: Context) -> None:
    ctx.catalog.forget()
