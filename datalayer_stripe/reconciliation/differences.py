"""Differences that an audit finds, and the command that corrects each."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

REPAIR_COMMAND = "datalayer-stripe audit --repair --yes"
RECONCILE_COMMAND = "datalayer-stripe reconcile"


class RepairTarget(NamedTuple):
    """What `audit --repair` corrects: an account's balance, a payment's rows, or one row.

    Attributes:
        what: The kind of the target.
        id: The account's uid, the PaymentIntent's id or the row's id.
        payment_intent_id: The payment that a row belongs to; None if it belongs to none.
    """

    what: Literal["account", "payment", "row"]
    id: str
    payment_intent_id: str | None = None


@dataclass(frozen=True)
class Difference:
    """One difference, explained for the operator.

    Attributes:
        kind: The kind of the object that differs, such as `payment` or `balance`.
        id: The id of this object.
        explanation: What differs.
        command: The command that corrects it; None if an operator has to decide.
        target: What `audit --repair` corrects; None if it cannot correct this difference.
    """

    kind: str
    id: str
    explanation: str
    command: str | None = None
    target: RepairTarget | None = None


def account_difference(kind: str, account_uid: str, explanation: str) -> Difference:
    """Return a difference between an account and its ledger."""
    target = RepairTarget("account", account_uid)
    return Difference(kind, account_uid, explanation, REPAIR_COMMAND, target)


def payment_difference(
    kind: str, object_id: str, explanation: str, payment_id: str, *, command: str = REPAIR_COMMAND
) -> Difference:
    """Return a difference between a payment's ledger rows and Stripe."""
    return Difference(kind, object_id, explanation, command, RepairTarget("payment", payment_id))
