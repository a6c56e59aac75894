"""Refunds.

https://docs.stripe.com/api/refunds
"""

from collections.abc import Mapping
from typing import Any

from ..api import params as p
from ..api.documented import accept, changes_of
from ..api.lists import LIST_FIELDS, page
from ..api.routes import Route
from ..engine.backend import Backend
from ..engine.card_vault import CardVault
from ..engine.errors import bad_request, invalid, missing_param
from ..engine.formatting import money
from ..engine.store import merge_metadata
from ..shapes import payments as shapes
from ..shapes.objects import Object

_CREATE = accept(
    "POST /v1/refunds",
    {
        "charge": p.string,
        "payment_intent": p.string,
        "amount": p.amount,
        "reason": p.choice("duplicate", "fraudulent", "requested_by_customer"),
    },
)
_UPDATE = accept("POST /v1/refunds/{id}", {})
_LIST = accept("GET /v1/refunds", LIST_FIELDS)


class Refunds:
    """The API's operations on refunds.

    Args:
        backend: the sandbox's state.
        vault: knows the cards whose refunds are pending at first.
    """

    def __init__(self, backend: Backend, vault: CardVault) -> None:
        self._backend = backend
        self._vault = vault

    def create(self, raw: Mapping[str, Any]) -> Object:
        """Refund a charge, or the latest charge of a PaymentIntent."""
        values = p.read(raw, _CREATE)
        charge = self._charge(values)
        amount = self._amount(charge, values.get("amount"))
        refund = shapes.refund(self._backend.ids.new("re"), charge, amount, self._backend.now())
        refund["balance_transaction"] = self._backend.ids.new("txn")
        refund["metadata"] = merge_metadata({}, values.get("metadata", {}))
        refund["reason"] = values.get("reason")
        method = self._backend.store.get("payment_method", charge["payment_method"])
        if self._vault.card(method).refund_pending:
            refund["status"] = "pending"
        self._backend.create(refund, "refund.created")
        refunded = charge["amount_refunded"] + amount
        self._backend.update(
            charge,
            {"amount_refunded": refunded, "refunded": refunded == charge["amount"]},
            "charge.refunded",
        )
        if refund["status"] == "succeeded":
            self._set_reference(refund)
        return refund

    def settle(self, refund: Object, fail: bool) -> Object:
        """Complete a pending refund, or let a pending or succeeded refund fail.

        A failed refund returns the money to the merchant.

        Args:
            refund: the refund.
            fail: whether it fails.

        Raises:
            StripeError: the refund's status does not allow it.
        """
        if refund["status"] not in (("pending", "succeeded") if fail else ("pending",)):
            raise bad_request(f"Refund {refund['id']} has already {refund['status']}.")
        if not fail:
            self._backend.update(refund, {"status": "succeeded"}, "refund.updated")
            self._set_reference(refund)
            return refund
        changes = {
            "failure_balance_transaction": self._backend.ids.new("txn"),
            "failure_reason": "lost_or_stolen_card",
            "status": "failed",
        }
        self._backend.update(refund, changes, "refund.updated")
        charge = self._backend.store.get("charge", refund["charge"])
        refunded = charge["amount_refunded"] - refund["amount"]
        self._backend.update(
            charge, {"amount_refunded": refunded, "refunded": False}, "charge.updated"
        )
        self._backend.emit("refund.failed", refund)
        return refund

    def retrieve(self, raw: Mapping[str, Any], id: str) -> Object:
        """Return a refund."""
        p.read(raw, {"expand": p.list_of(p.string)})
        return self._backend.store.get("refund", id)

    def update(self, raw: Mapping[str, Any], id: str) -> Object:
        """Update the metadata of a refund."""
        values = p.read(raw, _UPDATE)
        refund = self._backend.store.get("refund", id)
        previous = self._backend.store.change(refund, changes_of(refund, values))
        # Stripe sends both events for a refund to a card.
        for event in ("refund.updated", "charge.refund.updated") if previous else ():
            self._backend.emit(event, refund, previous)
        return refund

    def list_all(self, raw: Mapping[str, Any]) -> Object:
        """Return a page of refunds."""
        values = p.read(raw, _LIST)
        rows = (
            refund
            for refund in self._backend.store.of_kind("refund")
            if all(
                name not in values or refund[name] == values[name]
                for name in ("charge", "payment_intent")
            )
        )
        return page(rows, values, "/v1/refunds")

    def routes(self) -> list[Route]:
        """Return the routes of refunds."""
        return [
            Route("POST", "/v1/refunds", self.create),
            Route("GET", "/v1/refunds", self.list_all),
            Route("GET", "/v1/refunds/{id}", self.retrieve),
            Route("POST", "/v1/refunds/{id}", self.update),
        ]

    def _charge(self, values: Mapping[str, Any]) -> Object:
        store = self._backend.store
        if values.get("charge"):
            return store.get("charge", values["charge"], "charge")
        if not values.get("payment_intent"):
            raise missing_param("payment_intent")
        intent = store.get("payment_intent", values["payment_intent"], "payment_intent")
        if intent["status"] != "succeeded":
            raise bad_request(
                f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund."
            )
        return store.get("charge", intent["latest_charge"], "payment_intent")

    def _amount(self, charge: Object, amount: int | None) -> int:
        if charge["status"] != "succeeded":
            raise bad_request(f"Charge {charge['id']} is not refundable: it has not succeeded.")
        if charge["refunded"]:
            raise bad_request(
                f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded"
            )
        left: int = charge["amount"] - charge["amount_refunded"]
        if amount is None:
            return left
        if amount < 1:
            raise invalid(
                "Invalid positive integer", code="parameter_invalid_integer", param="amount"
            )
        if amount > left:
            currency = charge["currency"]
            raise bad_request(
                f"Refund amount ({money(amount, currency)}) is greater than unrefunded amount on "
                f"charge ({money(left, currency)})",
                param="amount",
            )
        return amount

    def _set_reference(self, refund: Object) -> None:
        """Add the card network's reference, which Stripe receives some time after the refund."""
        card = {
            **refund["destination_details"]["card"],
            "reference": self._backend.ids.token(23),
            "reference_status": "available",
        }
        details = {**refund["destination_details"], "card": card}
        self._backend.update(refund, {"destination_details": details}, "refund.updated")
