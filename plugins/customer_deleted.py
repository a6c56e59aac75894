"""Release a deleted customer, so that its account gets a new one with its next purchase."""

from datalayer_stripe import Context, Event, Plugin

plugin = Plugin("customer-deleted", catch_up=True, only_records=True)


@plugin.on("customer.deleted")
async def release_customer(event: Event, ctx: Context) -> None:
    if event.object_id is not None:
        ctx.customers.release(event.object_id)
