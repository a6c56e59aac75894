"""Billing: invoices of subscriptions and of invoice items, and the PaymentIntents that pay them.

https://docs.stripe.com/billing/invoices/subscription
https://docs.stripe.com/api/invoice-payment
"""

from typing import Protocol

from ..shapes import billing as shapes
from ..shapes.objects import Object
from .backend import Backend
from .cards import AUTHENTICATION_REQUIRED, Decline
from .charging import Attempt, Charging
from .errors import bad_request
from .intents import cancel_payment_intent, new_payment_intent
from .invoice_lines import add_line

# Descriptions of the PaymentIntents of invoices, by the invoice's `billing_reason`.
_DESCRIPTIONS = {
    "subscription_create": "Subscription creation",
    "subscription_cycle": "Subscription update",
}
# Seconds until the next payment attempt of a renewal that failed.
_RETRY_BACKOFF = 3 * 24 * 3600


class InvoiceObserver(Protocol):
    """Receiver of invoice outcomes, such as the lifecycle of subscriptions."""

    def invoice_paid(self, invoice: Object, method_id: str | None) -> None:
        """Handle a paid invoice. `method_id` is None if nothing was due."""

    def invoice_failed(self, invoice: Object) -> None:
        """Handle an invoice whose payment failed."""


class Billing:
    """Creates and finalizes invoices, and updates them when their payments succeed or fail.

    Args:
        backend: the sandbox's state.
        charging: pays the PaymentIntents of invoices.
    """

    def __init__(self, backend: Backend, charging: Charging) -> None:
        self._backend = backend
        self._charging = charging
        self._observers: list[InvoiceObserver] = []
        charging.observe(self)

    def observe(self, observer: InvoiceObserver) -> None:
        """Call `observer` with every future outcome."""
        self._observers.append(observer)

    def bill(self, subscription: Object, reason: str, period: tuple[int, int]) -> Object:
        """Create and finalize the invoice of a subscription's current period.

        Args:
            subscription: whose items are billed; free of charge during a trial.
            reason: the invoice's `billing_reason`.
            period: the invoice's `period_start` and `period_end`, in epoch seconds.

        Returns:
            The invoice, with the status `open`, or `paid` if nothing is due.
        """
        backend = self._backend
        invoice = self.draft(subscription["customer"], subscription["currency"])
        invoice.update(billing_reason=reason, period_start=period[0], period_end=period[1])
        invoice["parent"] = shapes.subscription_parent(subscription)
        for item in subscription["items"]["data"]:
            add_line(backend, invoice, item, free=subscription["status"] == "trialing")
        subscription["latest_invoice"] = invoice["id"]
        backend.create(invoice, "invoice.created")
        return self.finalize(invoice)

    def draft(self, customer_id: str, currency: str) -> Object:
        """Return a new draft invoice without lines, which is not stored yet.

        Args:
            customer_id: `cus_…`.
            currency: three letters, in lower case.

        Raises:
            StripeError: there is no such customer.
        """
        customer = self._backend.store.get("customer", customer_id, "customer")
        return shapes.invoice(self._backend.ids.new("in"), customer, currency, self._backend.now())

    def finalize(self, invoice: Object) -> Object:
        """Finalize a draft invoice: number it, and open its payment.

        Returns:
            The invoice, with the status `open`, or `paid` if nothing is due.
        """
        self._number(invoice)
        if invoice["amount_due"]:
            self._open_payment(invoice)
        else:
            self._set_paid(invoice, None)
        return invoice

    def attempt(
        self,
        invoice: Object,
        method: Object,
        *,
        off_session: bool = True,
        decline: Decline | None = None,
    ) -> Object:
        """Try to pay an open invoice.

        Args:
            invoice: the open invoice.
            method: the payment method.
            off_session: whether the customer is absent and cannot authenticate.
            decline: decline the payment with this reason, whatever the card.

        Returns:
            The PaymentIntent.

        Raises:
            SandboxCardError: the card was declined.
        """
        attempt = Attempt(method, off_session=off_session, decline=decline)
        return self._charging.attempt(self.intent_of(invoice), attempt)

    def fail_without_method(self, invoice: Object) -> None:
        """Record a failed payment attempt because there is no payment method."""
        self._record_failure(invoice)

    def void(self, invoice: Object) -> None:
        """Void an open or uncollectible invoice and cancel its PaymentIntent."""
        self._close(invoice, "void", "voided_at")
        self._backend.emit("invoice.voided", invoice)
        cancel_payment_intent(self._backend, self.intent_of(invoice), "void_invoice")

    def mark_uncollectible(self, invoice: Object) -> None:
        """Mark an open invoice as one that nobody will pay; it can still be paid."""
        self._close(invoice, "uncollectible", "marked_uncollectible_at")
        self._backend.emit("invoice.marked_uncollectible", invoice)

    def settle_out_of_band(self, invoice: Object) -> None:
        """Mark an open invoice as paid outside Stripe and cancel its PaymentIntent."""
        self._backend.update(invoice, {"amount_paid_off_stripe": invoice["amount_due"]})
        self._set_paid(invoice, None)
        cancel_payment_intent(self._backend, self.intent_of(invoice), None)

    def intent_of(self, invoice: Object) -> Object:
        """Return the PaymentIntent of an invoice.

        Raises:
            StripeError: the invoice has none because nothing was due.
        """
        for payment in self._backend.store.of_kind("invoice_payment"):
            if payment["invoice"] == invoice["id"]:
                return self._backend.store.get(
                    "payment_intent", payment["payment"]["payment_intent"]
                )
        raise bad_request("Invoice is already paid", code="invoice_already_paid")

    def default_method(self, customer_id: str, subscription: Object | None) -> Object | None:
        """Return the default payment method: the subscription's, else the customer's, else None.

        Args:
            customer_id: `cus_…`.
            subscription: the subscription, or an invoice without one; None if there is neither.
        """
        customer = self._backend.store.get("customer", customer_id, "customer")
        chosen = (subscription or {}).get("default_payment_method")
        method_id = chosen or customer["invoice_settings"]["default_payment_method"]
        return self._backend.store.find(method_id)

    def payment_succeeded(self, intent: Object) -> None:
        """Mark the invoice of a PaymentIntent as paid."""
        payment = self._payment_of(intent)
        if payment is None:
            return
        now = self._backend.now()
        transitions = {**payment["status_transitions"], "paid_at": now}
        paid = {"amount_paid": intent["amount"], "status": "paid"}
        self._backend.update(payment, {**paid, "status_transitions": transitions})
        invoice = self._backend.store.get("invoice", payment["invoice"])
        self._set_paid(invoice, intent["payment_method"])

    def payment_failed(self, intent: Object) -> None:
        """Record a failed attempt on the invoice of a PaymentIntent."""
        payment = self._payment_of(intent)
        if payment is None:
            return
        invoice = self._backend.store.get("invoice", payment["invoice"])
        self._record_failure(invoice)
        if intent["last_payment_error"]["code"] == AUTHENTICATION_REQUIRED.code:
            self._backend.emit("invoice.payment_action_required", invoice)

    def payment_requires_action(self, intent: Object) -> None:
        """Emit the event that an invoice's payment requires authentication."""
        payment = self._payment_of(intent)
        if payment is not None:
            invoice = self._backend.store.get("invoice", payment["invoice"])
            self._backend.emit("invoice.payment_action_required", invoice)

    def _number(self, invoice: Object) -> None:
        now = self._backend.now()
        customer = self._backend.store.get("customer", invoice["customer"], "customer")
        sequence = customer["next_invoice_sequence"]
        customer["next_invoice_sequence"] = sequence + 1
        page_url = f"{self._backend.url}/sandbox/invoices/{invoice['id']}"
        self._backend.update(
            invoice,
            {
                "auto_advance": bool(subscription_of(invoice)) or invoice["auto_advance"],
                "effective_at": now,
                "ending_balance": 0,
                "hosted_invoice_url": page_url,
                "invoice_pdf": f"{page_url}/pdf",
                "number": f"{customer['invoice_prefix']}-{sequence:04d}",
                "status": "open",
                "status_transitions": {**invoice["status_transitions"], "finalized_at": now},
                "webhooks_delivered_at": now,
            },
        )
        self._backend.emit("invoice.finalized", invoice)

    def _close(self, invoice: Object, status: str, transition: str) -> None:
        transitions = {**invoice["status_transitions"], transition: self._backend.now()}
        changes = {"auto_advance": False, "status": status, "status_transitions": transitions}
        self._backend.update(invoice, {**changes, "next_payment_attempt": None})

    def _open_payment(self, invoice: Object) -> None:
        intent = new_payment_intent(self._backend, invoice["amount_due"], invoice["currency"])
        subscription = self._backend.store.find(subscription_of(invoice))
        method = self.default_method(invoice["customer"], subscription or invoice)
        intent.update(
            customer=invoice["customer"],
            description=_DESCRIPTIONS.get(invoice["billing_reason"], "Payment for Invoice"),
            setup_future_usage="off_session" if subscription else None,
        )
        if method is not None:
            intent.update(payment_method=method["id"], status="requires_confirmation")
        self._backend.create(intent, "payment_intent.created")
        payment_id = self._backend.ids.new("inpay")
        self._backend.create(
            shapes.invoice_payment(payment_id, invoice, intent, self._backend.now())
        )

    def _payment_of(self, intent: Object) -> Object | None:
        for payment in self._backend.store.of_kind("invoice_payment"):
            if payment["payment"]["payment_intent"] == intent["id"]:
                return payment
        return None

    def _set_paid(self, invoice: Object, method_id: str | None) -> None:
        transitions = {**invoice["status_transitions"], "paid_at": self._backend.now()}
        self._backend.update(
            invoice,
            {
                "amount_paid": invoice["amount_due"],
                "amount_remaining": 0,
                "attempt_count": invoice["attempt_count"] + (1 if method_id else 0),
                "attempted": True,
                "auto_advance": False,
                "next_payment_attempt": None,
                "status": "paid",
                "status_transitions": transitions,
            },
        )
        self._backend.emit("invoice.paid", invoice)
        self._backend.emit("invoice.payment_succeeded", invoice)
        for observer in self._observers:
            observer.invoice_paid(invoice, method_id)

    def _record_failure(self, invoice: Object) -> None:
        retried = invoice["billing_reason"] == "subscription_cycle"
        changes = {
            "attempt_count": invoice["attempt_count"] + 1,
            "attempted": True,
            "next_payment_attempt": self._backend.now() + _RETRY_BACKOFF if retried else None,
        }
        self._backend.update(invoice, changes)
        self._backend.emit("invoice.payment_failed", invoice)
        for observer in self._observers:
            observer.invoice_failed(invoice)


def subscription_of(invoice: Object) -> str | None:
    """Return the identifier of an invoice's subscription; None if it has none."""
    details = (invoice["parent"] or {}).get("subscription_details") or {}
    return details.get("subscription")


def no_default_method() -> Exception:
    """Return the error for a customer without a payment method."""
    return bad_request(
        "This customer has no attached payment source or default payment method. Please consider "
        "adding a default payment method.",
        code="resource_missing",
    )
