"""Add the credits of a paid top-up to its account."""

from datalayer_stripe import Context, Event, Plugin

plugin = Plugin(
    "top-up-credits", order=0, timeout=10, moves_money=True, catch_up=True, only_records=True
)


@plugin.on("payment_intent.succeeded")
async def credit_account(event: Event, ctx: Context) -> None:
    top_up = await ctx.topups.from_payment_intent(event.object)
    if top_up is None:
        return  # another system's payment on a shared Stripe account, or an invoice's
    ctx.ledger.credit(top_up)  # recorded; committed with this plugin's mark
