"""Changes that an update makes to a subscription."""

import copy
from collections.abc import Mapping
from typing import Any

from ..api import documented
from ..engine.errors import bad_request
from ..engine.store import merge_metadata
from ..shapes.objects import Object

# Computed below, or by `Subscriptions`.
_COMPUTED = ("cancel_at_period_end", "cancellation_details", "items", "trial_end")


def changes_of(
    subscription: Object,
    values: Mapping[str, Any],
    prices: Mapping[str, Object],
    now: int,
) -> dict[str, Any]:
    """Return the changes that checked parameters make to a subscription.

    Args:
        subscription: the current subscription; it is not modified.
        values: the checked parameters.
        prices: the new prices, by the item's identifier.
        now: the time in epoch seconds.

    Returns:
        The new values by field.

    Raises:
        StripeError: the subscription does not have the item, or the new price has another
            currency or interval.
    """
    stored = {name: value for name, value in values.items() if name not in _COMPUTED}
    changes = documented.changes_of(subscription, stored)
    details = dict(subscription["cancellation_details"])
    details.update(values.get("cancellation_details") or {})
    if "cancel_at_period_end" in values:
        cancel = values["cancel_at_period_end"]
        if cancel != subscription["cancel_at_period_end"]:
            changes.update(_cancellation(subscription, cancel, now))
            details["reason"] = "cancellation_requested" if cancel else None
    elif "cancel_at" in values:
        changes["canceled_at"] = now if values["cancel_at"] else None
    if details != subscription["cancellation_details"]:
        changes["cancellation_details"] = details
    if values.get("items"):
        changes["items"] = _items(subscription, values["items"], prices)
    return changes


def _cancellation(subscription: Object, cancel: bool, now: int) -> dict[str, Any]:
    end = max(item["current_period_end"] for item in subscription["items"]["data"])
    return {
        "cancel_at": end if cancel else None,
        "cancel_at_period_end": cancel,
        "canceled_at": now if cancel else None,
    }


def _items(
    subscription: Object, changes: list[dict[str, Any]], prices: Mapping[str, Object]
) -> Object:
    items: Object = copy.deepcopy(subscription["items"])
    by_id = {item["id"]: item for item in items["data"]}
    for change in changes:
        item = by_id.get(change["id"])
        if item is None:
            raise bad_request(
                f"No such subscription item: '{change['id']}'",
                code="resource_missing",
                param="items",
            )
        price = prices.get(change["id"])
        if price is not None:
            _check_interval(item["price"], price)
            item["price"] = copy.deepcopy(price)
        item["quantity"] = change.get("quantity") or item["quantity"]
        item["metadata"] = merge_metadata(item["metadata"], change.get("metadata", {}))
    return items


def _check_interval(old: Object, new: Object) -> None:
    """Reject a price that would start a new period, because the sandbox does not prorate."""
    if old["recurring"] != new["recurring"] or old["currency"] != new["currency"]:
        raise bad_request(
            "The sandbox cannot change a subscription's price to one with another currency or "
            "interval.",
            param="items",
        )
