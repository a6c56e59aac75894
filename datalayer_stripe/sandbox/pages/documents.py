"""Receipts and invoices, as Stripe's answers link to them."""

from typing import Any

from ..actions import SandboxActions
from .base import Page


class ReceiptPage(Page):
    """Page of a charge's receipt."""

    def get(self, charge_id: str) -> None:
        """Show the receipt."""
        self.show("receipt.html", "Receipt", charge=self.find(charge_id, "charge"))


class InvoicePage(Page):
    """Page of an invoice."""

    def get(self, invoice_id: str) -> None:
        """Show the invoice."""
        self.show("invoice.html", "Invoice", invoice=self.find(invoice_id, "invoice"))


def document_handlers(sandbox: SandboxActions) -> list[Any]:
    """Return the handlers of receipts and invoices."""
    arguments = {"sandbox": sandbox}
    return [
        (r"/sandbox/receipts/(\w+)", ReceiptPage, arguments),
        (r"/sandbox/invoices/(\w+?)(?:/pdf)?", InvoicePage, arguments),
    ]
