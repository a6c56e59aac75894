"""Summary of a sandbox's state, which the panel shows."""

from typing import Any

from ...currencies import CURRENCY_DIGITS
from ..actions import SandboxActions
from ..core import Shopfront
from ..shapes.objects import Object

_MAX_PAYMENTS = 20


async def overview(sandbox: SandboxActions) -> dict[str, Any]:
    """Return the data of the panel.

    It has the shop's facts, the simulated delivery faults, customers, subscriptions, and the latest
    payments and disputes. `offset` is how far the sandbox's clock is ahead, in seconds. It is sent
    instead of the time, so that the answer and its ETag stay the same until something changes.
    `currency_digits` is the number of decimals by currency, for currencies without two decimals.
    """
    charges = {charge["id"]: charge for charge in _newest(sandbox, "charges", 100)}
    return {
        "offset": sandbox.clock.offset,
        "currency_digits": CURRENCY_DIGITS,
        "shop": await _shop(sandbox.shop) if sandbox.shop else None,
        "webhooks": sandbox.webhooks.faults,
        "customers": [
            {name: customer[name] for name in ("id", "name", "email")}
            for customer in _newest(sandbox, "customers", 100)
        ],
        "subscriptions": [
            _subscription(found) for found in _newest(sandbox, "subscriptions", 100, status="all")
        ],
        "payments": [
            _payment(found, charges.get(found["latest_charge"]))
            for found in _newest(sandbox, "payment_intents", _MAX_PAYMENTS)
        ],
        "disputes": [
            {name: found[name] for name in ("id", "payment_intent", "status", "amount", "currency")}
            for found in _newest(sandbox, "disputes", _MAX_PAYMENTS)
        ],
    }


async def _shop(shop: Shopfront) -> dict[str, Any]:
    return {"name": shop.name, "url": shop.url, "facts": await shop.facts()}


def _newest(sandbox: SandboxActions, name: str, limit: int, **params: Any) -> list[Object]:
    found: list[Object] = sandbox.call("GET", f"/v1/{name}", limit=limit, **params)["data"]
    return found


def _subscription(subscription: Object) -> dict[str, Any]:
    item = subscription["items"]["data"][0]
    names = ("id", "customer", "status", "cancel_at_period_end")
    return {
        **{name: subscription[name] for name in names},
        "amount": item["price"]["unit_amount"],
        "currency": item["price"]["currency"],
        "current_period_end": item["current_period_end"],
    }


def _payment(intent: Object, charge: Object | None) -> dict[str, Any]:
    names = ("id", "customer", "status", "amount", "currency", "created", "description")
    return {
        **{name: intent[name] for name in names},
        "amount_refunded": charge["amount_refunded"] if charge else 0,
        "receipt_url": charge["receipt_url"] if charge and charge["paid"] else None,
    }
