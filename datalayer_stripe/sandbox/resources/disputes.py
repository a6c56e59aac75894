"""Disputes: a cardholder wants the money back, and the bank decides.

https://docs.stripe.com/api/disputes, https://docs.stripe.com/disputes/how-disputes-work
"""

from collections.abc import Mapping
from typing import Any

from ..api import params as p
from ..api.lists import LIST_FIELDS, page
from ..api.routes import Route
from ..engine.backend import Backend
from ..engine.card_vault import CardVault
from ..engine.errors import bad_request
from ..engine.formatting import money
from ..engine.store import merge_metadata
from ..shapes import disputes as shapes
from ..shapes.objects import Object

# What decides a dispute in test mode: https://docs.stripe.com/testing#evidence
WINNING_EVIDENCE = "winning_evidence"
LOSING_EVIDENCE = "losing_evidence"

# What becomes of a dispute when the merchant answers.
_ANSWERED = {
    "needs_response": "under_review",
    "warning_needs_response": "warning_under_review",
}

_UPDATE: p.Fields = {
    "evidence": p.hash_of(dict.fromkeys(shapes.EVIDENCE, p.string)),
    "submit": p.boolean,
    "metadata": p.metadata,
    "expand": p.list_of(p.string),
}


class Disputes:
    """Disputes of charges: made by the sandbox's user, or by a test card."""

    def __init__(self, backend: Backend, vault: CardVault) -> None:
        self._backend = backend
        self._vault = vault

    def open(
        self, intent: Object, amount: int | None, reason: str = "fraudulent", inquiry: bool = False
    ) -> Object:
        """Dispute a paid PaymentIntent, as its cardholder does at the bank.

        Args:
            intent: the PaymentIntent.
            amount: in the currency's minor unit; None is what was paid and not refunded, or all
                of it where all was refunded.
            reason: as in https://docs.stripe.com/disputes/categories.
            inquiry: the bank only asks; no money moves.
        """
        if intent["status"] != "succeeded":
            raise bad_request(f"PaymentIntent {intent['id']} is not paid.")
        charge = self._backend.store.get("charge", intent["latest_charge"])
        paid = charge["amount"]
        if amount is None:
            amount = paid - charge["amount_refunded"] or paid
        if not 1 <= amount <= paid:
            raise bad_request(
                f"The amount has to be above 0, and at most {money(paid, charge['currency'])}.",
                param="amount",
            )
        dispute = shapes.dispute(
            self._backend.ids.new("du"), charge, amount, reason, self._backend.now()
        )
        self._backend.update(charge, {"disputed": True}, "charge.updated")
        self._backend.create(dispute)
        if not inquiry:
            self._withdraw(dispute)
        self._backend.emit("charge.dispute.created", dispute)
        if not inquiry:
            self._backend.emit("charge.dispute.funds_withdrawn", dispute)
        return dispute

    def escalate(self, dispute: Object) -> Object:
        """Let an inquiry become a dispute that takes the money."""
        if not _is_inquiry(dispute):
            raise bad_request(f"Dispute {dispute['id']} is {dispute['status']}: it is no inquiry.")
        previous = self._withdraw(dispute)
        self._backend.emit("charge.dispute.updated", dispute, previous)
        self._backend.emit("charge.dispute.funds_withdrawn", dispute)
        return dispute

    def decide(self, dispute: Object, won: bool) -> Object:
        """Let the bank decide, for the merchant if `won`; once more, if it changes its mind.

        An inquiry that is won is closed; one that is lost has become a dispute first.
        """
        if _is_inquiry(dispute):
            if won:
                closed = {"status": "warning_closed"}
                return self._backend.update(dispute, closed, "charge.dispute.closed")
            self.escalate(dispute)
        changes: dict[str, Any] = {"status": "won" if won else "lost"}
        if dispute["status"] in (changes["status"], "warning_closed"):
            raise bad_request(f"Dispute {dispute['id']} is {dispute['status']} already.")
        if won == _has_withdrawn(dispute):
            # The money moves: back to the merchant, or, where it had come back, away again.
            move = shapes.reinstatement if won else shapes.withdrawal
            transaction = move(self._backend.ids.new("txn"), dispute, self._backend.now())
            changes["balance_transactions"] = [*dispute["balance_transactions"], transaction]
            self._backend.update(dispute, changes, "charge.dispute.closed")
            event = "funds_reinstated" if won else "funds_withdrawn"
            self._backend.emit(f"charge.dispute.{event}", dispute)
            return dispute
        return self._backend.update(dispute, changes, "charge.dispute.closed")

    def payment_succeeded(self, intent: Object) -> None:
        """Dispute what was paid with a test card that always is."""
        method = self._backend.store.get("payment_method", intent["payment_method"])
        card = self._vault.card(method)
        if card.disputed_as is not None:
            self.open(intent, None, card.disputed_as, inquiry=card.inquiry)

    def payment_failed(self, intent: Object) -> None:
        """Nothing was paid, and nothing is disputed."""

    def payment_requires_action(self, intent: Object) -> None:
        """Nothing is paid yet."""

    # The API

    def retrieve(self, raw: Mapping[str, Any], id: str) -> Object:
        """Return a dispute."""
        p.read(raw, {"expand": p.list_of(p.string)})
        return self._backend.store.get("dispute", id)

    def list_all(self, raw: Mapping[str, Any]) -> Object:
        """Return a page of disputes."""
        values = p.read(raw, {**LIST_FIELDS, "charge": p.string, "payment_intent": p.string})
        rows = (
            dispute
            for dispute in self._backend.store.of_kind("dispute")
            if all(
                name not in values or dispute[name] == values[name]
                for name in ("charge", "payment_intent")
            )
        )
        return page(rows, values, "/v1/disputes")

    def update(self, raw: Mapping[str, Any], id: str) -> Object:
        """Send the merchant's evidence; `winning_evidence` and `losing_evidence` decide at once."""
        values = p.read(raw, _UPDATE)
        dispute = self._backend.store.get("dispute", id)
        evidence = values.get("evidence") or {}
        changes: dict[str, Any] = {
            "evidence": {**dispute["evidence"], **evidence},
            "metadata": merge_metadata(dispute["metadata"], values.get("metadata", {})),
        }
        if evidence and values.get("submit", True):
            changes |= self._submitted(dispute)
        self._backend.update(dispute, changes, "charge.dispute.updated")
        decision = dispute["evidence"]["uncategorized_text"]
        if decision in (WINNING_EVIDENCE, LOSING_EVIDENCE) and "status" in changes:
            self.decide(dispute, won=decision == WINNING_EVIDENCE)
        return dispute

    def close(self, raw: Mapping[str, Any], id: str) -> Object:
        """Accept a dispute: it is lost."""
        p.read(raw, {"expand": p.list_of(p.string)})
        return self.decide(self._backend.store.get("dispute", id), won=False)

    def routes(self) -> list[Route]:
        """Return the routes of disputes."""
        return [
            Route("GET", "/v1/disputes", self.list_all),
            Route("GET", "/v1/disputes/{id}", self.retrieve),
            Route("POST", "/v1/disputes/{id}", self.update),
            Route("POST", "/v1/disputes/{id}/close", self.close),
        ]

    def _withdraw(self, dispute: Object) -> Object:
        """Take the money; return the `previous_attributes`."""
        transaction = shapes.withdrawal(self._backend.ids.new("txn"), dispute, self._backend.now())
        card = {**dispute["payment_method_details"]["card"], "case_type": "chargeback"}
        changes = {
            "balance_transactions": [transaction],
            "is_charge_refundable": False,
            "payment_method_details": {**dispute["payment_method_details"], "card": card},
            "status": "needs_response",
        }
        return self._backend.store.change(dispute, changes)

    def _submitted(self, dispute: Object) -> dict[str, Any]:
        if dispute["status"] not in _ANSWERED:
            raise bad_request(f"Dispute {dispute['id']} is {dispute['status']}: it is too late.")
        details = {
            **dispute["evidence_details"],
            "has_evidence": True,
            "submission_count": dispute["evidence_details"]["submission_count"] + 1,
            "submission_method": "manual",
        }
        return {"evidence_details": details, "status": _ANSWERED[dispute["status"]]}


def _is_inquiry(dispute: Object) -> bool:
    return dispute["status"] in ("warning_needs_response", "warning_under_review")


def _has_withdrawn(dispute: Object) -> bool:
    moved: int = sum(transaction["amount"] for transaction in dispute["balance_transactions"])
    return moved < 0
