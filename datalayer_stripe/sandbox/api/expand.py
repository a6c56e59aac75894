"""Expansion of references in an answer.

https://docs.stripe.com/expand
"""

import copy
from collections.abc import Callable, Iterable
from typing import Any

from ..engine.errors import StripeError, invalid
from ..engine.store import Store
from ..shapes.objects import Object

MAX_DEPTH = 4

# The expandable fields, by the type of the object that contains them. A field inside a plain hash,
# such as `payment.payment_intent` of an invoice payment, belongs to the object around the hash.
_REFERENCES: dict[str, set[str]] = {
    "product": {"default_price"},
    "price": {"product"},
    "customer": {"default_payment_method"},
    "customer_session": {"customer"},
    "payment_method": {"customer"},
    "payment_intent": {"customer", "payment_method", "latest_charge"},
    "setup_intent": {"customer", "payment_method"},
    "charge": {"customer", "payment_intent"},
    "refund": {"charge", "payment_intent"},
    "dispute": {"charge", "payment_intent"},
    "subscription": {
        "customer",
        "default_payment_method",
        "latest_invoice",
        "pending_setup_intent",
    },
    "invoice": {"customer", "default_payment_method", "subscription"},
    "invoiceitem": {"customer", "invoice"},
    "invoice_payment": {"invoice", "payment_intent", "charge"},
    "billing_portal.session": {"configuration"},
}


def check_depth(paths: Iterable[str]) -> None:
    """Check that no path is deeper than `MAX_DEPTH`.

    Raises:
        StripeError: a path is deeper.
    """
    for path in paths:
        if path.count(".") >= MAX_DEPTH:
            raise invalid(
                f"You cannot expand more than {MAX_DEPTH} levels of a property. Property: {path}",
                param="expand",
            )


def expand(store: Store, obj: Object, paths: Iterable[str]) -> Object:
    """Return a copy of an object with some references replaced by the objects.

    Args:
        store: the objects of the sandbox.
        obj: the object or list; it is not modified.
        paths: dotted paths, such as `data.customer`.

    Raises:
        StripeError: a path names a property that cannot be expanded.
    """
    expanded = copy.deepcopy(obj)
    for path in paths:
        _expand(store, expanded, path.split("."), owner="")
    return expanded


def _payments(store: Store, invoice: Object) -> Object:
    found = [p for p in store.of_kind("invoice_payment") if p["invoice"] == invoice["id"]]
    return _list(found, "/v1/invoice_payments")


def _confirmation_secret(store: Store, invoice: Object) -> Object | None:
    for payment in _payments(store, invoice)["data"]:
        intent = store.get("payment_intent", payment["payment"]["payment_intent"])
        return {"client_secret": intent["client_secret"], "type": "payment_intent"}
    return None


def _subscriptions(store: Store, customer: Object) -> Object:
    found = [
        subscription
        for subscription in store.of_kind("subscription")
        if subscription["customer"] == customer["id"] and subscription["status"] != "canceled"
    ]
    return _list(found, f"/v1/customers/{customer['id']}/subscriptions")


def _refunds(store: Store, charge: Object) -> Object:
    found = [refund for refund in store.of_kind("refund") if refund["charge"] == charge["id"]]
    return _list(found, f"/v1/charges/{charge['id']}/refunds")


def _total_count(_store: Store, found: Object) -> Any:
    return found["total_count"]  # counted by `search`


_INCLUDED: dict[tuple[str, str], Callable[[Store, Object], Any]] = {
    ("invoice", "payments"): _payments,
    ("invoice", "confirmation_secret"): _confirmation_secret,
    ("customer", "subscriptions"): _subscriptions,
    ("charge", "refunds"): _refunds,
    ("search_result", "total_count"): _total_count,
}


def _list(objects: list[Object], url: str) -> Object:
    return {"object": "list", "data": copy.deepcopy(objects), "has_more": False, "url": url}


def _expand(store: Store, value: Any, names: list[str], owner: str) -> None:
    if isinstance(value, list):
        for item in value:
            _expand(store, item, names, owner)
        return
    if not isinstance(value, dict):
        return
    kind = value.get("object", owner)
    name, *rest = names
    if name in _REFERENCES.get(kind, ()) and name in value:
        if isinstance(value[name], str):
            value[name] = copy.deepcopy(store.find(value[name]) or value[name])
    elif (kind, name) in _INCLUDED:
        # An earlier path may have included and expanded this value already: keep it.
        value[name] = value.get(name) or _INCLUDED[kind, name](store, value)
    elif not rest or not isinstance(value.get(name), dict | list):
        raise _not_expandable(names, kind)
    if rest:
        _expand(store, value[name], rest, kind)


def _not_expandable(names: list[str], kind: str) -> StripeError:
    message = f"This property cannot be expanded ({'.'.join(names)})."
    if kind == "list":
        message += f" You may want to try expanding 'data.{'.'.join(names)}' instead."
    return invalid(message, param="expand")
