"""Let an account have a new customer when its own was deleted in Stripe's dashboard."""

from datalayer_stripe import Context, Event, Plugin

plugin = Plugin("customer-deleted", catch_up=True)


@plugin.on("customer.deleted")
async def release_account(event: Event, ctx: Context) -> None:
    if event.object_id is not None:
        ctx.customers.release(event.object_id)
