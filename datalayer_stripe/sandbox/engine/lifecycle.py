"""Status changes of subscriptions.

https://docs.stripe.com/billing/subscriptions/overview#subscription-lifecycle
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..shapes.objects import Object
from .backend import Backend
from .billing import Billing, subscription_of


class SubscriptionLifecycle:
    """Changes the status of subscriptions: on payment outcomes, cancellation and expiry.

    Args:
        backend: the sandbox's state.
        billing: reports which invoices are paid and which fail.
    """

    def __init__(self, backend: Backend, billing: Billing) -> None:
        self._backend = backend
        self._billing = billing
        self._creating: str | None = None
        billing.observe(self)

    @contextmanager
    def creating(self, subscription: Object) -> Iterator[None]:
        """Emit no update event for a subscription while it is being created.

        Its `customer.subscription.created` event already has the result.
        """
        self._creating = subscription["id"]
        try:
            yield
        finally:
            self._creating = None

    def end(self, subscription: Object, changes: Mapping[str, Any]) -> Object:
        """End a subscription. It expires if its first invoice was never paid.

        Args:
            subscription: the subscription.
            changes: further changes, such as `canceled_at`.

        Returns:
            The subscription, with the status `canceled` or `incomplete_expired`.
        """
        unpaid = subscription["status"] == "incomplete"
        status = "incomplete_expired" if unpaid else "canceled"
        self._backend.update(subscription, {**changes, "status": status})
        self._backend.emit("customer.subscription.deleted", subscription)
        self._close_invoice(subscription, void=unpaid)
        return subscription

    def expire(self, subscription: Object) -> None:
        """Expire a subscription whose first invoice was not paid within 23 hours."""
        now = self._backend.now()
        changes = {"status": "incomplete_expired", "ended_at": now, "canceled_at": now}
        self._backend.update(subscription, changes, "customer.subscription.updated")
        self._close_invoice(subscription, void=True)

    def invoice_paid(self, invoice: Object, method_id: str | None) -> None:
        """Activate a subscription after its latest invoice was paid."""
        subscription = self._backend.store.find(subscription_of(invoice))
        if subscription is None or subscription["latest_invoice"] != invoice["id"]:
            return
        changes: dict[str, Any] = {}
        if subscription["status"] in ("incomplete", "past_due", "unpaid"):
            changes["status"] = "active"
        saves = subscription["payment_settings"]["save_default_payment_method"]
        if method_id and saves == "on_subscription":
            changes["default_payment_method"] = method_id
        event = None if self._creating == subscription["id"] else "customer.subscription.updated"
        self._backend.update(subscription, changes, event)

    def invoice_failed(self, invoice: Object) -> None:
        """Set a subscription to `past_due` after the payment of its renewal failed."""
        subscription = self._backend.store.find(subscription_of(invoice))
        if subscription is None or subscription["status"] not in ("active", "trialing"):
            return
        self._backend.update(subscription, {"status": "past_due"}, "customer.subscription.updated")

    def _close_invoice(self, subscription: Object, *, void: bool) -> None:
        """Stop collecting the open invoice of a subscription that has ended."""
        invoice = self._backend.store.find(subscription["latest_invoice"])
        if invoice is None or invoice["status"] != "open":
            return
        if void:
            self._billing.void(invoice)
        else:
            changes = {"auto_advance": False, "next_payment_attempt": None}
            self._backend.update(invoice, changes, "invoice.updated")
