"""Checks of Stripe's API, the secret key and the publishable key."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from ..errors import (
    CannotCheck,
    RateLimited,
    StripeKeyRefused,
    StripePermissionMissing,
    StripeUnavailable,
)
from ..settings import variable
from ..stripe_api.account_probes import PERMISSION_PROBES
from ..stripe_api.permissions import permission_label
from .checks import Subject
from .context import CheckContext

SUBJECT = Subject("key")


@SUBJECT.error(
    "reachable",
    "Stripe's API answers.",
    advice="Check that this machine can reach https://api.stripe.com, whether "
    f"{variable('stripe_api_base')} is set, and https://status.stripe.com.",
)
async def reachable(context: CheckContext) -> Sequence[str]:
    try:
        await context.account.server_time()
    except StripeKeyRefused:
        return []  # that is an answer
    except (StripeUnavailable, RateLimited) as error:
        return [f"Stripe's API gives no answer ({type(error).__name__})."]
    return []


@SUBJECT.error(
    "accepted",
    "Stripe accepts the secret key.",
    advice=f"Set {variable('stripe_api_key')} to a key of https://dashboard.stripe.com/apikeys: "
    "the present one is wrong, expired or revoked.",
)
async def accepted(context: CheckContext) -> Sequence[str]:
    try:
        await context.account.server_time()
    except StripePermissionMissing:
        return []
    except StripeKeyRefused:
        return ["Stripe refuses the secret key."]
    return []


@SUBJECT.error(
    "permissions",
    "The secret key has all permissions needed.",
    advice="Add the permission to the restricted key at https://dashboard.stripe.com/apikeys: "
    "the key → Edit key.",
)
async def permissions(context: CheckContext) -> Sequence[str]:
    with suppress(StripePermissionMissing):
        await context.account.server_time()  # raises if Stripe refuses the key
    probes = context.account.probes
    if not context.settings.stripe_api_key.get_secret_value().startswith("rk_"):
        return []  # Only a restricted key can lack a permission.
    lacking = await asyncio.gather(*map(probes.lacks_permission, PERMISSION_PROBES))
    return [
        f"The restricted key lacks the permission {name} ({permission_label(name)})."
        for name, is_lacking in zip(PERMISSION_PROBES, lacking, strict=True)
        if is_lacking
    ]


@SUBJECT.error(
    "publishable",
    "Both keys are of the same Stripe account.",
    advice=f"Set {variable('stripe_js_api_key')} to the publishable key beside the secret key at "
    "https://dashboard.stripe.com/apikeys. Otherwise browsers cannot pay.",
)
async def publishable(context: CheckContext) -> Sequence[str]:
    key = context.settings.stripe_js_api_key
    is_accepted = await context.account.probes.accepts_publishable_key(key)
    if is_accepted is False:
        return ["Stripe refuses the publishable key, or it belongs to another Stripe account."]
    return []


@SUBJECT.error(
    "one-mode",
    "Key and objects are of one mode.",
    advice="Use ids and keys of one mode only, test or live: each exists separately in both.",
)
async def one_mode(context: CheckContext) -> Sequence[str]:
    settings, account = context.settings, context.account
    product_ids = (settings.stripe_topup_product_id, *settings.stripe_subscription_product_ids)
    found = [await account.product(product_id) for product_id in product_ids]
    for product_id in product_ids:
        found += await account.prices(product_id)
    found.append(await account.portal_configuration())
    modes = {one["id"]: one["livemode"] for one in found if one is not None}
    with suppress(StripePermissionMissing):  # the checks of the endpoint say so
        modes |= {one.id: one.livemode for one in await account.webhook_endpoints()}
    if not modes:
        raise CannotCheck("Stripe has none of the objects")
    mine, other = ("live", "test") if settings.livemode else ("test", "live")
    return [
        f"{object_id} is of {other} mode, and the secret key of {mine} mode."
        for object_id, livemode in modes.items()
        if livemode is not settings.livemode
    ]
