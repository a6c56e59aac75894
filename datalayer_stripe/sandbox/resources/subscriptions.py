"""Subscriptions.

https://docs.stripe.com/api/subscriptions
https://docs.stripe.com/billing/subscriptions/overview
"""

from collections.abc import Mapping
from typing import Any

from ..api import params as p
from ..api.lists import of_customer, page
from ..api.routes import Route
from ..api.search import NUMERIC, TOKEN, SearchFields, search
from ..engine.backend import Backend
from ..engine.billing import Billing, no_default_method
from ..engine.card_vault import CardVault
from ..engine.charging import Charging
from ..engine.errors import SandboxCardError, bad_request, invalid
from ..engine.lifecycle import SubscriptionLifecycle
from ..engine.periods import period_end
from ..engine.store import merge_metadata
from ..shapes import billing as shapes
from ..shapes.objects import Object
from .setup_intents import SetupIntents
from .subscription_changes import changes_of
from .subscription_params import CANCEL_FIELDS, CREATE_FIELDS, LIST_SUBSCRIPTIONS, UPDATE_FIELDS

_DAY = 24 * 3600
_SEARCH: SearchFields = {"canceled_at": NUMERIC, "created": NUMERIC, "status": TOKEN}


class Subscriptions:
    """The API's operations on subscriptions that are charged automatically.

    Args:
        backend: the sandbox's state.
        vault: the payment methods.
        charging: knows which payments would be declined.
        billing: creates the invoices.
        lifecycle: cancels subscriptions.
        setup_intents: creates the SetupIntent of a trial.
    """

    def __init__(
        self,
        backend: Backend,
        vault: CardVault,
        charging: Charging,
        billing: Billing,
        lifecycle: SubscriptionLifecycle,
        setup_intents: SetupIntents,
    ) -> None:
        self._backend = backend
        self._vault = vault
        self._charging = charging
        self._billing = billing
        self._setup_intents = setup_intents
        self._lifecycle = lifecycle

    def create(self, raw: Mapping[str, Any]) -> Object:
        """Create a subscription and the invoice of its first period.

        https://docs.stripe.com/api/subscriptions/create#create_subscription-payment_behavior
        """
        values = p.read(raw, CREATE_FIELDS, required=["customer", "items"])
        customer = self._backend.store.get("customer", values["customer"], "customer")
        prices = [self._price(item, index) for index, item in enumerate(values["items"])]
        if not prices:
            raise invalid("Missing required param: items.", code="parameter_missing", param="items")
        behavior = values.get("payment_behavior", "allow_incomplete")
        subscription = self._new(customer, prices, values)
        method = self._billing.default_method(customer["id"], subscription)
        if subscription["status"] != "trialing" and behavior != "default_incomplete":
            self._check_payable(method, behavior)
        self._backend.store.put(subscription)
        with self._lifecycle.creating(subscription):
            self._first_invoice(subscription, method, values)
        self._backend.emit("customer.subscription.created", subscription)
        return subscription

    def retrieve(self, raw: Mapping[str, Any], id: str) -> Object:
        """Return a subscription."""
        p.read(raw, {"expand": p.list_of(p.string)})
        return self._backend.store.get("subscription", id)

    def update(self, raw: Mapping[str, Any], id: str) -> Object:
        """Update a subscription."""
        values = p.read(raw, UPDATE_FIELDS)
        subscription = self._backend.store.get("subscription", id)
        if subscription["status"] in ("canceled", "incomplete_expired"):
            allowed = {"cancellation_details", "metadata", "expand"}
            if not values.keys() <= allowed:
                raise bad_request(
                    "A canceled subscription can only update its cancellation_details and "
                    "metadata.",
                    code="invalid_canceled_subscription_fields",
                )
        prices = {
            item["id"]: self._price(item, index)
            for index, item in enumerate(values.get("items", []))
            if item.get("price")
        }
        if values.get("default_payment_method"):
            method_id = values["default_payment_method"]
            self._vault.of_customer(method_id, subscription["customer"], "default_payment_method")
        changes = changes_of(subscription, values, prices, self._backend.now())
        return self._backend.update(subscription, changes, "customer.subscription.updated")

    def cancel(self, raw: Mapping[str, Any], id: str) -> Object:
        """Cancel a subscription now."""
        values = p.read(raw, CANCEL_FIELDS)
        subscription = self._backend.store.get("subscription", id)
        if subscription["status"] in ("canceled", "incomplete_expired"):
            raise bad_request(f"No such subscription: '{id}'", code="resource_missing", param="id")
        details = {
            **subscription["cancellation_details"],
            **(values.get("cancellation_details") or {}),
            "reason": "cancellation_requested",
        }
        now = self._backend.now()
        changes = {"cancellation_details": details, "canceled_at": now}
        return self._lifecycle.end(subscription, {**changes, "ended_at": now})

    def list_all(self, raw: Mapping[str, Any]) -> Object:
        """Return a page of subscriptions, by default without the canceled ones."""
        values = p.read(raw, LIST_SUBSCRIPTIONS)
        rows = (
            subscription
            for subscription in of_customer(self._backend.store.of_kind("subscription"), values)
            if _has_status(subscription, values.get("status"))
            and values.get("collection_method") in (None, subscription["collection_method"])
            and ("price" not in values or values["price"] in _prices(subscription))
        )
        return page(rows, values, "/v1/subscriptions")

    def search(self, raw: Mapping[str, Any]) -> Object:
        """Return a page of the subscriptions that match a query."""
        subscriptions = self._backend.store.of_kind("subscription")
        return search(subscriptions, raw, _SEARCH, "/v1/subscriptions/search")

    def routes(self) -> list[Route]:
        """Return the routes of subscriptions."""
        return [
            Route("POST", "/v1/subscriptions", self.create),
            Route("GET", "/v1/subscriptions", self.list_all),
            Route("GET", "/v1/subscriptions/search", self.search),
            Route("GET", "/v1/subscriptions/{id}", self.retrieve),
            Route("POST", "/v1/subscriptions/{id}", self.update),
            Route("DELETE", "/v1/subscriptions/{id}", self.cancel),
        ]

    def _new(self, customer: Object, prices: list[Object], values: Mapping[str, Any]) -> Object:
        """Return a new subscription, which is not stored yet."""
        now, ids = self._backend.now(), self._backend.ids
        subscription = shapes.subscription(
            ids.new("sub"), customer["id"], prices[0]["currency"], now
        )
        trial_end = values.get("trial_end")
        if values.get("trial_period_days"):
            trial_end = now + values["trial_period_days"] * _DAY
        if trial_end and trial_end > now:
            subscription.update(
                billing_cycle_anchor=trial_end,
                status="trialing",
                trial_end=trial_end,
                trial_start=now,
            )
        for price, item in zip(prices, values["items"], strict=True):
            end = trial_end or period_end(now, now, price["recurring"])
            entry = shapes.subscription_item(
                ids.new("si"), subscription["id"], price, (now, end), now
            )
            entry["quantity"] = item.get("quantity") or 1
            entry["metadata"] = merge_metadata({}, item.get("metadata", {}))
            subscription["items"]["data"].append(entry)
        if values.get("default_payment_method"):
            self._vault.of_customer(
                values["default_payment_method"], customer["id"], "default_payment_method"
            )
        changes = changes_of(subscription, {**values, "items": []}, {}, now)
        subscription.update(changes)
        return subscription

    def _check_payable(self, method: Object | None, behavior: str) -> None:
        if method is None:
            raise no_default_method()
        decline = self._charging.would_decline(method)
        if behavior == "error_if_incomplete" and decline is not None:
            raise SandboxCardError(
                decline.message, code=decline.code, decline_code=decline.decline_code
            )

    def _first_invoice(
        self, subscription: Object, method: Object | None, values: Mapping[str, Any]
    ) -> None:
        now = self._backend.now()
        invoice = self._billing.bill(subscription, "subscription_create", (now, now))
        if subscription["status"] == "trialing":
            if method is None:
                intent = self._setup_intents.new(subscription["customer"])
                self._backend.create(intent, "setup_intent.created")
                subscription["pending_setup_intent"] = intent["id"]
            return
        if values.get("payment_behavior") == "default_incomplete" or method is None:
            return
        if invoice["status"] == "open":
            off_session = values.get("off_session", False)
            try:
                self._billing.attempt(invoice, method, off_session=off_session)
            except SandboxCardError:
                return  # with `allow_incomplete` the answer is the incomplete subscription

    def _price(self, item: Mapping[str, Any], index: int) -> Object:
        param = f"items[{index}][price]"
        if not item.get("price"):
            raise invalid(
                f"Missing required param: {param}.", code="parameter_missing", param=param
            )
        price = self._backend.store.get("price", item["price"], param)
        if price["type"] != "recurring":
            raise bad_request(
                "The price specified is set to `type=one_time` but this field only accepts prices "
                "with `type=recurring`.",
                param=param,
            )
        if not price["active"]:
            raise bad_request(
                "The price specified is inactive. This field only accepts active prices.",
                param=param,
            )
        return price


def _has_status(subscription: Object, status: str | None) -> bool:
    if status == "all":
        return True
    if status == "ended":
        return subscription["status"] in ("canceled", "incomplete_expired")
    if status is None:
        return bool(subscription["status"] != "canceled")
    return bool(subscription["status"] == status)


def _prices(subscription: Object) -> set[str]:
    return {item["price"]["id"] for item in subscription["items"]["data"]}
