"""Clear the cached prices when a price or a product changes."""

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
async def clear_cached_prices(_: Event, ctx: Context) -> None:
    ctx.catalog.clear_cache()
