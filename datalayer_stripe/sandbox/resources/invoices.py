"""Invoices.

https://docs.stripe.com/api/invoices
https://docs.stripe.com/invoicing/overview#invoice-statuses
"""

from collections.abc import Mapping
from typing import Any

from ..api import params as p
from ..api.documented import accept, changes_of
from ..api.lists import LIST_FIELDS, page
from ..api.routes import Route
from ..api.search import NUMERIC, STRING, TOKEN, Field, SearchFields, search
from ..engine.backend import Backend
from ..engine.billing import Billing, no_default_method, subscription_of
from ..engine.card_vault import CardVault
from ..engine.errors import bad_request
from ..engine.invoice_lines import with_items
from ..engine.lifecycle import SubscriptionLifecycle
from ..shapes.objects import Object
from .invoice_items import items_of, pending_items

_DAY = 24 * 3600
_EDIT: p.Fields = {
    "collection_method": p.choice("charge_automatically", "send_invoice"),
    "days_until_due": p.integer,
    "default_payment_method": p.string,
}
_CREATE = accept(
    "POST /v1/invoices",
    {
        **_EDIT,
        "currency": p.currency,
        "customer": p.string,
        "pending_invoice_items_behavior": p.choice("include", "exclude"),
    },
)
_UPDATE = accept("POST /v1/invoices/{id}", _EDIT)
_FINALIZE = accept("POST /v1/invoices/{id}/finalize", {"auto_advance": p.boolean})
_PAY = accept(
    "POST /v1/invoices/{id}/pay",
    {"payment_method": p.string, "off_session": p.boolean, "paid_out_of_band": p.boolean},
)
_LIST = accept(
    "GET /v1/invoices",
    {
        **LIST_FIELDS,
        "collection_method": _EDIT["collection_method"],
        "customer": p.string,
        "subscription": p.string,
        "status": p.choice("draft", "open", "paid", "uncollectible", "void"),
    },
)
_SEARCH: SearchFields = {
    "created": NUMERIC,
    "currency": TOKEN,
    "customer": TOKEN,
    "last_finalization_error_code": Field(TOKEN.operators, "last_finalization_error.code"),
    "last_finalization_error_type": Field(TOKEN.operators, "last_finalization_error.type"),
    "number": STRING,
    "receipt_number": STRING,
    "status": STRING,
    "subscription": Field(STRING.operators, "parent.subscription_details.subscription"),
    "total": NUMERIC,
}
_EXPAND: p.Fields = {"expand": p.list_of(p.string)}


class Invoices:
    """The API's operations on invoices: of subscriptions, and of invoice items.

    Args:
        backend: the sandbox's state.
        vault: the payment methods.
        billing: creates, finalizes, pays and voids invoices.
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

    def create(self, raw: Mapping[str, Any]) -> Object:
        """Create a draft invoice, by default without the customer's pending invoice items."""
        values = p.read(raw, _CREATE, required=["customer"])
        invoice = self._billing.draft(values["customer"], values.get("currency", "usd"))
        if values.get("pending_invoice_items_behavior") == "include":
            currency = values.get("currency")
            items = list(pending_items(self._backend.store, values["customer"], currency))
            if items and not currency:
                invoice["currency"] = items[-1]["currency"]
                items = [item for item in items if item["currency"] == invoice["currency"]]
            invoice.update(with_items(self._backend, invoice, reversed(items)))
            for item in items:
                item["invoice"] = invoice["id"]
        invoice.update(self._changes(invoice, values))
        return self._backend.create(invoice, "invoice.created")

    def update(self, raw: Mapping[str, Any], id: str) -> Object:
        """Update a draft invoice, or the metadata of any invoice."""
        values = p.read(raw, _UPDATE)
        invoice = self._backend.store.get("invoice", id)
        if not values.keys() <= {"metadata", "expand"}:
            self._check_status(invoice, "edit", "draft")
        changes = self._changes(invoice, values)
        return self._backend.update(invoice, changes, "invoice.updated")

    def retrieve(self, raw: Mapping[str, Any], id: str) -> Object:
        """Return an invoice."""
        p.read(raw, _EXPAND)
        return self._backend.store.get("invoice", id)

    def delete(self, raw: Mapping[str, Any], id: str) -> Object:
        """Delete a draft invoice and its invoice items."""
        p.read(raw, {})
        invoice = self._backend.store.get("invoice", id)
        self._check_status(invoice, "delete", "draft")
        for item in list(items_of(self._backend.store, id)):
            self._backend.store.remove(item)
        self._backend.store.remove(invoice)
        self._backend.emit("invoice.deleted", invoice)
        return {"id": id, "object": "invoice", "deleted": True}

    def list_all(self, raw: Mapping[str, Any]) -> Object:
        """Return a page of invoices."""
        values = p.read(raw, _LIST)
        equal = [name for name in ("collection_method", "customer", "status") if name in values]
        rows = (
            invoice
            for invoice in self._backend.store.of_kind("invoice")
            if all(invoice[name] == values[name] for name in equal)
            and ("subscription" not in values or subscription_of(invoice) == values["subscription"])
        )
        return page(rows, values, "/v1/invoices")

    def list_lines(self, raw: Mapping[str, Any], id: str) -> Object:
        """Return the lines of an invoice."""
        p.read(raw, {name: LIST_FIELDS[name] for name in LIST_FIELDS if name != "created"})
        lines: Object = self._backend.store.get("invoice", id)["lines"]
        return lines

    def finalize(self, raw: Mapping[str, Any], id: str) -> Object:
        """Finalize a draft invoice: its status becomes `open`, or `paid` if nothing is due."""
        values = p.read(raw, _FINALIZE)
        invoice = self._backend.store.get("invoice", id)
        self._check_status(invoice, "finalize", "draft")
        if "auto_advance" in values:
            invoice["auto_advance"] = values["auto_advance"]
        return self._billing.finalize(invoice)

    def send(self, raw: Mapping[str, Any], id: str) -> Object:
        """Send an invoice to its customer, and finalize a draft first."""
        p.read(raw, _EXPAND)
        invoice = self._backend.store.get("invoice", id)
        self._check_status(invoice, "send", "draft", "open")
        if invoice["collection_method"] != "send_invoice":
            raise bad_request(
                "You can only manually send an invoice if its collection method is 'send_invoice'."
            )
        if invoice["status"] == "draft":
            self._billing.finalize(invoice)
        self._backend.emit("invoice.sent", invoice)
        return invoice

    def pay(self, raw: Mapping[str, Any], id: str) -> Object:
        """Pay an invoice with the given or the default payment method; finalize a draft first."""
        values = p.read(raw, _PAY)
        invoice = self._backend.store.get("invoice", id)
        if invoice["status"] not in ("draft", "open", "uncollectible"):
            code = "invoice_already_paid" if invoice["status"] == "paid" else "invoice_not_editable"
            raise bad_request(f"Invoice is {invoice['status']}", code=code)
        out_of_band = values.get("paid_out_of_band", False)
        method = None if out_of_band else self._method(invoice, values.get("payment_method"))
        if invoice["status"] == "draft":
            self._billing.finalize(invoice)
        if invoice["status"] == "paid":
            return invoice
        if method is None:
            self._billing.settle_out_of_band(invoice)
        else:
            self._billing.attempt(invoice, method, off_session=values.get("off_session", True))
        return invoice

    def mark_uncollectible(self, raw: Mapping[str, Any], id: str) -> Object:
        """Mark an open invoice as one that nobody will pay."""
        p.read(raw, _EXPAND)
        invoice = self._backend.store.get("invoice", id)
        self._check_status(invoice, "mark as uncollectible", "open")
        self._billing.mark_uncollectible(invoice)
        return invoice

    def void(self, raw: Mapping[str, Any], id: str) -> Object:
        """Void an open invoice, and expire its subscription if that is incomplete.

        Args:
            raw: the decoded parameters.
            id: `in_…`.

        Raises:
            StripeError: the invoice is not open or uncollectible.
        """
        p.read(raw, _EXPAND)
        invoice = self._backend.store.get("invoice", id)
        self._check_status(invoice, "void", "open", "uncollectible")
        subscription = self._backend.store.find(subscription_of(invoice))
        if subscription is not None and subscription["status"] == "incomplete":
            self._lifecycle.expire(subscription)
        else:
            self._billing.void(invoice)
        return invoice

    def search(self, raw: Mapping[str, Any]) -> Object:
        """Return a page of the invoices that match a query."""
        invoices = self._backend.store.of_kind("invoice")
        return search(invoices, raw, _SEARCH, "/v1/invoices/search")

    def routes(self) -> list[Route]:
        """Return the routes of invoices."""
        path = "/v1/invoices"
        return [
            Route("POST", path, self.create),
            Route("GET", path, self.list_all),
            Route("GET", path + "/search", self.search),
            Route("GET", path + "/{id}", self.retrieve),
            Route("POST", path + "/{id}", self.update),
            Route("DELETE", path + "/{id}", self.delete),
            Route("GET", path + "/{id}/lines", self.list_lines),
            Route("POST", path + "/{id}/finalize", self.finalize),
            Route("POST", path + "/{id}/send", self.send),
            Route("POST", path + "/{id}/pay", self.pay),
            Route("POST", path + "/{id}/mark_uncollectible", self.mark_uncollectible),
            Route("POST", path + "/{id}/void", self.void),
        ]

    def _changes(self, invoice: Object, values: Mapping[str, Any]) -> dict[str, Any]:
        if values.get("default_payment_method"):
            method_id = values["default_payment_method"]
            self._vault.of_customer(method_id, invoice["customer"], "default_payment_method")
        changes = changes_of(invoice, values)
        if values.get("days_until_due") is not None:
            changes["due_date"] = invoice["created"] + values["days_until_due"] * _DAY
        return changes

    def _method(self, invoice: Object, method_id: str | None) -> Object:
        """Return the given payment method of the invoice's customer, or the default one."""
        if method_id:
            return self._vault.of_customer(method_id, invoice["customer"], "payment_method")
        subscription = self._backend.store.find(subscription_of(invoice))
        found = self._billing.default_method(invoice["customer"], subscription or invoice)
        if found is None:
            raise no_default_method()
        return found

    def _check_status(self, invoice: Object, verb: str, *allowed: str) -> None:
        if invoice["status"] not in allowed:
            raise bad_request(
                f"You can only {verb} {' or '.join(allowed)} invoices; this one is "
                f"{invoice['status']}.",
                code="invoice_not_editable",
            )
