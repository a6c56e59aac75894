"""Disputes: a cardholder reclaims a payment, and the bank decides.

https://docs.stripe.com/api/disputes, https://docs.stripe.com/disputes/how-disputes-work
"""

from collections.abc import Mapping
from typing import Any

from ..api import params as p
from ..api.documented import accept
from ..api.lists import LIST_FIELDS, page
from ..api.routes import Route
from ..engine.backend import Backend
from ..engine.card_vault import CardVault
from ..engine.errors import bad_request
from ..engine.formatting import money
from ..engine.store import merge_metadata
from ..shapes import disputes as shapes
from ..shapes.objects import Object

# The evidence text that decides a dispute in test mode: https://docs.stripe.com/testing#evidence
WINNING_EVIDENCE = "winning_evidence"
LOSING_EVIDENCE = "losing_evidence"

# The next status after the merchant has submitted evidence, by status.
_ANSWERED = {
    "needs_response": "under_review",
    "warning_needs_response": "warning_under_review",
}

_UPDATE = accept(
    "POST /v1/disputes/{id}", {"evidence": p.hash_of(dict.fromkeys(shapes.EVIDENCE, p.string))}
)
_LIST = accept("GET /v1/disputes", LIST_FIELDS)


class Disputes:
    """Disputes: the API's operations, and the actions of cardholders and banks.

    Args:
        backend: the sandbox's state.
        vault: knows the test cards whose payments are disputed.
    """

    def __init__(self, backend: Backend, vault: CardVault) -> None:
        self._backend = backend
        self._vault = vault

    def open(
        self, intent: Object, amount: int | None, reason: str = "fraudulent", inquiry: bool = False
    ) -> Object:
        """Open a dispute of a PaymentIntent, as its cardholder does at the bank.

        Args:
            intent: a PaymentIntent that has succeeded.
            amount: in the currency's minor unit; None: the amount that is not refunded, or the
                full amount if everything is refunded.
            reason: see https://docs.stripe.com/disputes/categories.
            inquiry: open an inquiry, which withdraws no money.

        Raises:
            StripeError: the PaymentIntent is not paid, or the amount is too large.
        """
        if intent["status"] != "succeeded":
            raise bad_request(f"PaymentIntent {intent['id']} is not paid.")
        charge = self._backend.store.get("charge", intent["latest_charge"])
        paid = charge["amount"]
        if amount is None:
            amount = paid - charge["amount_refunded"] or paid
        if not 1 <= amount <= paid:
            raise bad_request(
                f"The amount must be above 0 and at most {money(paid, charge['currency'])}.",
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
        """Turn an inquiry into a dispute, which withdraws the money.

        Raises:
            StripeError: the dispute is not an inquiry.
        """
        if not _is_inquiry(dispute):
            raise bad_request(
                f"Dispute {dispute['id']} is {dispute['status']}: it is not an inquiry."
            )
        previous = self._withdraw(dispute)
        self._backend.emit("charge.dispute.updated", dispute, previous)
        self._backend.emit("charge.dispute.funds_withdrawn", dispute)
        return dispute

    def decide(self, dispute: Object, won: bool) -> Object:
        """Decide a dispute as the bank does; a decided dispute can be decided again.

        A won inquiry is closed. A lost inquiry becomes a dispute first.

        Args:
            dispute: the dispute.
            won: whether the merchant wins.

        Raises:
            StripeError: the dispute already has this result, or is a closed inquiry.
        """
        if _is_inquiry(dispute):
            if won:
                closed = {"status": "warning_closed"}
                return self._backend.update(dispute, closed, "charge.dispute.closed")
            self.escalate(dispute)
        changes: dict[str, Any] = {"status": "won" if won else "lost"}
        if dispute["status"] in (changes["status"], "warning_closed"):
            raise bad_request(f"Dispute {dispute['id']} is already {dispute['status']}.")
        if won == _has_withdrawn(dispute):
            # Return the withdrawn money to the merchant, or withdraw the returned money again.
            move = shapes.reinstatement if won else shapes.withdrawal
            transaction = move(self._backend.ids.new("txn"), dispute, self._backend.now())
            changes["balance_transactions"] = [*dispute["balance_transactions"], transaction]
            self._backend.update(dispute, changes, "charge.dispute.closed")
            event = "funds_reinstated" if won else "funds_withdrawn"
            self._backend.emit(f"charge.dispute.{event}", dispute)
            return dispute
        return self._backend.update(dispute, changes, "charge.dispute.closed")

    def payment_succeeded(self, intent: Object) -> None:
        """Open the dispute that a test card causes after each payment."""
        method = self._backend.store.get("payment_method", intent["payment_method"])
        card = self._vault.card(method)
        if card.disputed_as is not None:
            self.open(intent, None, card.disputed_as, inquiry=card.inquiry)

    def payment_failed(self, intent: Object) -> None:
        """Do nothing: only a succeeded payment can be disputed."""

    def payment_requires_action(self, intent: Object) -> None:
        """Do nothing: only a succeeded payment can be disputed."""

    # Operations of the API

    def retrieve(self, raw: Mapping[str, Any], id: str) -> Object:
        """Return a dispute."""
        p.read(raw, {"expand": p.list_of(p.string)})
        return self._backend.store.get("dispute", id)

    def list_all(self, raw: Mapping[str, Any]) -> Object:
        """Return a page of disputes."""
        values = p.read(raw, _LIST)
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
        """Add and submit evidence; `winning_evidence` and `losing_evidence` decide the dispute."""
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
        """Accept a dispute. Its status becomes `lost`."""
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
        """Withdraw the money from the merchant; return the `previous_attributes`."""
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
            raise bad_request(
                f"Dispute {dispute['id']} is {dispute['status']}: it is too late for evidence."
            )
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
