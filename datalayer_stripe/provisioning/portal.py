"""Plan the configuration of the customer portal: https://docs.stripe.com/customer-management."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ..errors import StripeObjectMissing
from ..settings import variable
from ..stripe_api.account_setup import AccountSetupCalls
from ..stripe_api.objects import StripeData, mapping_in, metadata_of
from ..stripe_api.transport import StripeDict
from .creation import create_once
from .steps import MANAGED_METADATA, Action, Save, Step, Variables

PORTAL_SUBJECT = "customer portal"

_ID_VARIABLE = variable("stripe_cust_portal_id")
_URL_VARIABLE = variable("stripe_cust_portal_url")

PORTAL_BY_HAND = (
    "Set it up at https://dashboard.stripe.com/settings/billing/portal, with cancellation, change "
    "of the card and the link to the login page, and set "
    f"{_ID_VARIABLE} and {_URL_VARIABLE}."
)

# What people need there, with the words of the plan. What is enabled already is left as it is.
_FEATURES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "subscription_cancel": ("cancellation", {"enabled": True, "mode": "at_period_end"}),
    "payment_method_update": ("change of the card", {"enabled": True}),
    "invoice_history": ("invoices", {"enabled": True}),
}


async def plan_portal(calls: AccountSetupCalls, configured_id: str) -> list[Step]:
    """Plan the configuration of the portal.

    It is found by its id in the configuration, or else by its metadata.

    Args:
        calls: The calls.
        configured_id: The value of its variable, or an empty string.
    """
    portal = await _configured(calls, configured_id) or await _managed(calls)
    if portal is not None:
        return [_keep(calls, portal)]

    async def create(save: Save) -> None:
        save(_variables(await _create(calls)))

    detail = ", ".join([*(words for words, _ in _FEATURES.values()), "login page"])
    return [_step(Action.CREATE, detail, create)]


async def _create(calls: AccountSetupCalls) -> StripeDict:
    params = {
        "features": {name: dict(wanted) for name, (_, wanted) in _FEATURES.items()},
        "login_page": {"enabled": True},
        "metadata": dict(MANAGED_METADATA),
    }

    async def create(key: str | None) -> StripeDict:
        return await calls.create_portal_configuration(params, idempotency_key=key)

    async def is_current(created: StripeDict) -> bool:
        found = await _configured(calls, created["id"])
        return found is not None and _is_managed(found) and bool(found["active"])

    return await create_once(create, ["portal", params], is_current=is_current)


def _is_managed(portal: StripeData) -> bool:
    return MANAGED_METADATA.items() <= metadata_of(portal).items()


def _keep(calls: AccountSetupCalls, portal: StripeData) -> Step:
    """Return the step of an existing configuration, which enables what is not enabled."""
    features = {
        name: dict(wanted)
        for name, (_, wanted) in _FEATURES.items()
        if not mapping_in(mapping_in(portal, "features"), name).get("enabled")
    }
    words = [_FEATURES[name][0] for name in features]
    changes: dict[str, Any] = {"features": features} if features else {}
    if not mapping_in(portal, "login_page").get("enabled"):
        changes["login_page"] = {"enabled": True}
        words.append("login page")
    if not portal.get("active"):
        changes["active"] = True
        words.append("active")
    if not changes:
        return Step(PORTAL_SUBJECT, Action.UNCHANGED, portal["id"], variables=_variables(portal))

    async def change(save: Save) -> None:
        save(_variables(await calls.update_portal_configuration(portal["id"], changes)))

    return _step(Action.CHANGE, f"{portal['id']}: enable {', '.join(words)}", change)


def _step(action: Action, detail: str, run: Callable[[Save], Awaitable[None]]) -> Step:
    sets = [_ID_VARIABLE, _URL_VARIABLE]
    return Step(PORTAL_SUBJECT, action, detail, run, sets=sets, by_hand=PORTAL_BY_HAND)


def _variables(portal: StripeData) -> Variables:
    """Return the id of a configuration, and the URL of its login page if there is one."""
    url = mapping_in(portal, "login_page").get("url")
    return {_ID_VARIABLE: portal["id"], **({_URL_VARIABLE: url} if url else {})}


async def _configured(calls: AccountSetupCalls, configured_id: str) -> StripeData | None:
    if not configured_id:
        return None
    try:
        return await calls.retrieve_portal_configuration(configured_id)
    except StripeObjectMissing:
        return None


async def _managed(calls: AccountSetupCalls) -> StripeData | None:
    """Return the oldest configuration that `setup` has created: an active one, if there is any."""
    found = [portal for portal in await calls.list_portal_configurations() if _is_managed(portal)]
    return min(found, key=lambda one: (not one["active"], one["created"]), default=None)
