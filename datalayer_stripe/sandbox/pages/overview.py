"""What there is in a sandbox, in short: the report behind the panel."""

from typing import Any

from ...currencies import CURRENCY_DIGITS
from ..actions import SandboxActions, Shopfront
from ..shapes.objects import Object

_PAYMENTS = 20


async def overview(sandbox: SandboxActions) -> dict[str, Any]:
    """Return the shop's facts, and what the sandbox holds.

    That is its troubles, its customers and plans, the latest payments and disputes.

    `offset` is how far its time is ahead, in seconds: unlike the time, it stays the same, and so
    does the answer, while nothing happens. `currency_digits` is how many decimals amounts have,
    by currency, where it is not 2.
    """
    charges = {charge["id"]: charge for charge in _newest(sandbox, "charges", 100)}
    return {
        "offset": sandbox.clock.offset,
        "currency_digits": CURRENCY_DIGITS,
        "shop": await _shop(sandbox.shop) if sandbox.shop else None,
        "webhooks": sandbox.webhooks.troubles,
        "customers": [
            {name: customer[name] for name in ("id", "name", "email")}
            for customer in _newest(sandbox, "customers", 100)
        ],
        "subscriptions": [
            _subscription(found) for found in _newest(sandbox, "subscriptions", 100, status="all")
        ],
        "payments": [
            _payment(found, charges.get(found["latest_charge"]))
            for found in _newest(sandbox, "payment_intents", _PAYMENTS)
        ],
        "disputes": [
            {name: found[name] for name in ("id", "payment_intent", "status", "amount", "currency")}
            for found in _newest(sandbox, "disputes", _PAYMENTS)
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
