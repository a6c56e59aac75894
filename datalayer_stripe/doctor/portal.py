"""Checks of the customer portal's configuration."""

from collections.abc import Sequence

from ..errors import CannotCheck
from ..settings import variable
from ..stripe_api.objects import StripeData, mapping_in
from .checks import Subject
from .context import CheckContext

SUBJECT = Subject("portal")

_PORTAL_PAGE = "https://dashboard.stripe.com/settings/billing/portal"


@SUBJECT.error(
    "configuration",
    "Stripe has the portal's configuration.",
    advice=f"Set {variable('stripe_cust_portal_id')} to an id that `stripe billing_portal "
    "configurations list` shows in the mode of the key; or run `datalayer-stripe setup`.",
)
async def configuration(context: CheckContext) -> Sequence[str]:
    if await context.account.portal_configuration() is None:
        return [f"Stripe does not have {context.settings.stripe_cust_portal_id}."]
    return []


@SUBJECT.error(
    "active",
    "The portal's configuration is active.",
    advice=f"Set {variable('stripe_cust_portal_id')} to an active one, or run `datalayer-stripe "
    "setup`.",
)
async def active(context: CheckContext) -> Sequence[str]:
    found = await _configuration(context)
    return [] if found["active"] else [f"{found['id']} is not active: the portal does not open."]


@SUBJECT.warning(
    "cancellation",
    "The portal lets people cancel.",
    advice=f"Allow cancellations at {_PORTAL_PAGE}; or run `datalayer-stripe setup`.",
)
async def cancellation(context: CheckContext) -> Sequence[str]:
    return await _disabled(context, "subscription_cancel", "cancel their subscription")


@SUBJECT.warning(
    "card",
    "The portal lets people change their card.",
    advice=f"Allow changes of payment methods at {_PORTAL_PAGE}; or run `datalayer-stripe setup`.",
)
async def card(context: CheckContext) -> Sequence[str]:
    return await _disabled(context, "payment_method_update", "change their card")


@SUBJECT.warning(
    "link",
    "The portal's public link is the right one.",
    advice=f"Activate the link at {_PORTAL_PAGE}, and set {variable('stripe_cust_portal_url')} to "
    "it; or run `datalayer-stripe setup`.",
)
async def link(context: CheckContext) -> Sequence[str]:
    login_page = mapping_in(await _configuration(context), "login_page")
    if not login_page.get("enabled"):
        return ["The portal's public link is not enabled: people without a customer need it."]
    if login_page.get("url") != context.settings.stripe_cust_portal_url:
        return [f"{variable('stripe_cust_portal_url')} is not the portal's public link."]
    return []


async def _configuration(context: CheckContext) -> StripeData:
    found = await context.account.portal_configuration()
    if found is None:
        raise CannotCheck("Stripe does not have the configuration")
    return found


async def _disabled(context: CheckContext, feature: str, what: str) -> Sequence[str]:
    found = await _configuration(context)
    if mapping_in(mapping_in(found, "features"), feature).get("enabled"):
        return []
    return [f"{found['id']} does not let people {what}."]
