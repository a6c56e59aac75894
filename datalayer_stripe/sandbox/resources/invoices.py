"""Invoices.

https://docs.stripe.com/api/invoices
"""

from collections.abc import Mapping
from typing import Any

from ..api import params as p
from ..api.lists import LIST_FIELDS, page
from ..api.routes import Route
from ..engine.backend import Backend
from ..engine.billing import Billing, no_default_method, subscription_of
from ..engine.card_vault import CardVault
from ..engine.errors import bad_request
from ..engine.lifecycle import SubscriptionLifecycle
from ..shapes.objects import Object

_STATUSES = p.choice("draft", "open", "paid", "uncollectible", "void")


class Invoices:
    """The API's operations on invoices of subscriptions.

    Args:
        backend: the sandbox's state.
        vault: the payment methods.
        billing: pays and voids invoices.
        lifecycle: expires subscriptions.
    """

    def __init__(
        self,
        backend: Backend,
        vault: CardVault,
        billing: Billing,
        lifecycle: SubscriptionLifecycle,
    ) -> None:
        self._backend = backend
        self._vault = vault
        self._billing = billing
        self._lifecycle = lifecycle

    def retrieve(self, raw: Mapping[str, Any], id: str) -> Object:
        """Return an invoice."""
        p.read(raw, {"expand": p.list_of(p.string)})
        return self._backend.store.get("invoice", id)

    def list_all(self, raw: Mapping[str, Any]) -> Object:
        """Return a page of invoices."""
        fields = {"customer": p.string, "subscription": p.string, "status": _STATUSES}
        values = p.read(raw, {**LIST_FIELDS, **fields})
        rows = (
            invoice
            for invoice in self._backend.store.of_kind("invoice")
            if all(n not in values or invoice[n] == values[n] for n in ("customer", "status"))
            and ("subscription" not in values or subscription_of(invoice) == values["subscription"])
        )
        return page(rows, values, "/v1/invoices")

    def pay(self, raw: Mapping[str, Any], id: str) -> Object:
        """Pay an open invoice with the given or the default payment method."""
        fields = {"payment_method": p.string, "off_session": p.boolean}
        values = p.read(raw, {**fields, "expand": p.list_of(p.string)})
        invoice = self._backend.store.get("invoice", id)
        if invoice["status"] != "open":
            code = "invoice_already_paid" if invoice["status"] == "paid" else "invoice_not_editable"
            raise bad_request(f"Invoice is {invoice['status']}", code=code)
        if values.get("payment_method"):
            method = self._vault.of_customer(
                values["payment_method"], invoice["customer"], "payment_method"
            )
        else:
            subscription = self._backend.store.find(subscription_of(invoice))
            found = self._billing.default_method(invoice["customer"], subscription)
            if found is None:
                raise no_default_method()
            method = found
        self._billing.attempt(invoice, method, off_session=values.get("off_session", True))
        return invoice

    def void(self, raw: Mapping[str, Any], id: str) -> Object:
        """Void an open invoice, and expire its subscription if that is incomplete.

        Args:
            raw: the decoded parameters.
            id: `in_…`.

        Raises:
            StripeError: the invoice is not open.
        """
        p.read(raw, {"expand": p.list_of(p.string)})
        invoice = self._backend.store.get("invoice", id)
        if invoice["status"] != "open":
            raise bad_request(f"You can only void open invoices; this one is {invoice['status']}.")
        details = (invoice["parent"] or {}).get("subscription_details") or {}
        subscription = self._backend.store.find(details.get("subscription"))
        if subscription is not None and subscription["status"] == "incomplete":
            self._lifecycle.expire(subscription)
        else:
            self._billing.void(invoice)
        return invoice

    def routes(self) -> list[Route]:
        """Return the routes of invoices."""
        return [
            Route("GET", "/v1/invoices", self.list_all),
            Route("GET", "/v1/invoices/{id}", self.retrieve),
            Route("POST", "/v1/invoices/{id}/pay", self.pay),
            Route("POST", "/v1/invoices/{id}/void", self.void),
        ]
