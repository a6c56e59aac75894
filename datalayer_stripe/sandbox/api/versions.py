"""What differs between API versions: the shapes of objects, and the parameters of requests.

A webhook endpoint's API version decides the shape of the events it receives. Since 2025-03-31 a
subscription's period is on its items, and an invoice's subscription and payments are under `parent`
and `payments`. Before, they were fields of the object itself.
https://docs.stripe.com/changelog/basil

Since 2026-09-30 a request cannot set `payment_method_types` of a PaymentIntent or a SetupIntent.
https://docs.stripe.com/changelog/endive
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from ..engine.errors import invalid
from ..engine.store import Store
from ..shapes.objects import Object
from .routes import Route

_BASIL = "2025-03-31"
_ENDIVE = "2026-09-30"
_INTENTS = ("/v1/payment_intents", "/v1/setup_intents")
_PERIOD = ("current_period_end", "current_period_start")


def check_params(route: Route, params: Mapping[str, Any], version: str | None) -> None:
    """Reject parameters that an API version no longer has.

    Args:
        route: the operation.
        params: the decoded parameters of the request.
        version: the version that the request states; None: it states none, and a removed
            parameter is accepted, as by an account whose default version is older.

    Raises:
        StripeError: the version has no such parameter.
    """
    if version is None or _is_before(_ENDIVE, version) or "payment_method_types" not in params:
        return
    if route.method == "POST" and route.path.startswith(_INTENTS):
        raise invalid(
            "The `payment_method_types` parameter is no longer supported. Use "
            "`allowed_payment_method_types` to limit the payment methods.",
            code="payment_method_types_no_longer_supported",
            param="payment_method_types",
        )


def render_event(store: Store, event: Object, version: str | None) -> Object:
    """Return an event in the shape that an endpoint with an API version receives.

    Args:
        store: the objects of the sandbox.
        event: the event in the current shape; it is not modified.
        version: such as `2024-06-20`; None: the current one.
    """
    if version is None:
        return event
    rendered = {**event, "api_version": version, "data": render(store, event["data"], version)}
    previous = rendered["data"].get("previous_attributes")
    if _is_before(_BASIL, version) and previous and "items" in previous:
        _previous_period(rendered["data"]["object"], previous)
    return rendered


def render(store: Store, value: Any, version: str | None) -> Any:
    """Return a value with all objects in it in the shape of an API version.

    Args:
        store: the objects of the sandbox.
        value: an object, or JSON data that contains objects; it is not modified.
        version: such as `2024-06-20`; None: the current one.
    """
    if not _is_before(_BASIL, version):
        return value
    return _render(store, copy.deepcopy(value))


def _is_before(release: str, version: str | None) -> bool:
    return version is not None and version[:10] < release


def _render(store: Store, value: Any) -> Any:
    if isinstance(value, list):
        return [_render(store, item) for item in value]
    if not isinstance(value, dict):
        return value
    rendered = {name: _render(store, item) for name, item in value.items()}
    change = _OLD.get(str(rendered.get("object")))
    if change is not None:
        change(store, rendered)
    return rendered


def _subscription(_store: Store, subscription: Object) -> None:
    for item in subscription["items"]["data"]:
        for name in _PERIOD:
            subscription[name] = item.pop(name)


def _invoice(store: Store, invoice: Object) -> None:
    details = (invoice.pop("parent", None) or {}).get("subscription_details") or {}
    invoice["subscription"] = details.get("subscription")
    invoice["subscription_details"] = {"metadata": details.get("metadata")}
    invoice["paid"] = invoice["status"] == "paid"
    invoice.pop("payments", None)
    invoice.pop("confirmation_secret", None)
    intent = _intent_of(store, invoice["id"])
    invoice["payment_intent"] = intent and intent["id"]
    invoice["charge"] = intent and intent["latest_charge"]


def _line_item(store: Store, line: Object) -> None:
    parent = line.pop("parent", None) or {}
    details = parent.get("subscription_item_details") or {}
    item = parent.get("invoice_item_details")
    pricing = line.pop("pricing", None) or {}
    price_id = (pricing.get("price_details") or {}).get("price")
    line["price"] = copy.deepcopy(store.find(price_id))
    line["proration"] = details.get("proration", False)
    line["subscription"] = details.get("subscription")
    line["subscription_item"] = details.get("subscription_item")
    line["type"] = "invoiceitem" if item else "subscription"
    if item:
        line["invoice_item"] = item["invoice_item"]


def _payment_intent(store: Store, intent: Object) -> None:
    intent["invoice"] = _invoice_id_of(store, intent["id"])


def _charge(store: Store, charge: Object) -> None:
    charge["invoice"] = _invoice_id_of(store, charge["payment_intent"])


_OLD: dict[str, Callable[[Store, Object], None]] = {
    "subscription": _subscription,
    "invoice": _invoice,
    "line_item": _line_item,
    "payment_intent": _payment_intent,
    "charge": _charge,
}


def _intent_of(store: Store, invoice_id: str) -> Object | None:
    for payment in store.of_kind("invoice_payment"):
        if payment["invoice"] == invoice_id:
            return store.find(payment["payment"]["payment_intent"])
    return None


def _invoice_id_of(store: Store, intent_id: str) -> str | None:
    for payment in store.of_kind("invoice_payment"):
        if payment["payment"]["payment_intent"] == intent_id:
            return str(payment["invoice"])
    return None


def _previous_period(subscription: Object, previous: Object) -> None:
    """Move a changed period from the previous items to the previous attributes."""
    for item in previous["items"]["data"]:
        for name in _PERIOD:
            before = item.pop(name)
            if before != subscription[name]:
                previous[name] = before
    if previous["items"] == subscription["items"]:
        del previous["items"]
