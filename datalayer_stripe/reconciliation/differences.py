"""What an audit finds, and the command that heals it."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

REPAIR = "datalayer-stripe audit --repair --yes"
RECONCILE = "datalayer-stripe reconcile"


class RepairTarget(NamedTuple):
    """What `audit --repair` puts right: an account's balance, a payment's rows, or one row.

    `payment_intent_id`: the payment that a row belongs to, if any.
    """

    what: Literal["account", "payment", "row"]
    id: str
    payment_intent_id: str | None = None


@dataclass(frozen=True)
class Difference:
    """One thing that does not fit, in words for the operator.

    `command` heals it; None where it takes more than a command. `target` is set where
    `audit --repair` heals it, too.
    """

    kind: str
    id: str
    explanation: str
    command: str | None = None
    target: RepairTarget | None = None


def of_account(kind: str, account_uid: str, explanation: str) -> Difference:
    """Return a difference between an account and its ledger."""
    return Difference(kind, account_uid, explanation, REPAIR, RepairTarget("account", account_uid))


def of_payment(
    kind: str, object_id: str, explanation: str, payment_id: str, *, command: str = REPAIR
) -> Difference:
    """Return a difference between a payment's rows and Stripe."""
    return Difference(kind, object_id, explanation, command, RepairTarget("payment", payment_id))
