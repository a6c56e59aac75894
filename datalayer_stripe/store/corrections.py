"""Compute the corrections of a payment's ledger rows.

A payment's rows are its top-up, the rows of its refunds and disputes (`reverses`), and the
corrections of both (`corrects`). A correction of a reversal also has `reverses`. This module does
not use the database.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..models import ENTRY_KINDS, LedgerEntry, Model, Reversal, TopUp
from .reversals import RecordedReversal, cause_of

# Account and currency.
AccountKey = tuple[str, str]
# Account, currency, and the id of the refund or dispute.
ReversalKey = tuple[str, str, str]


class ExpectedPayment(Model):
    """State of a payment at Stripe: its top-up, if any, and its refunds and disputes."""

    payment_intent_id: str
    top_up: TopUp | None
    reversals: tuple[Reversal, ...] = ()

    @property
    def comparable(self) -> tuple[Reversal, ...]:
        """The refunds and disputes in the currency of the payment."""
        top_up = self.top_up
        if top_up is None:
            return ()
        return tuple(one for one in self.reversals if one.currency == top_up.currency)


class Sums(NamedTuple):
    """Sums of a payment's rows, without zeros.

    Attributes:
        credits: The credits of the top-up, by account and currency.
        amounts: The amounts of the top-up, by account and currency.
        taken: The credits of the reversals, by account and currency.
        held: The amounts of the reversals, by account, currency and refund or dispute.
    """

    credits: Mapping[AccountKey, int]
    amounts: Mapping[AccountKey, int]
    taken: Mapping[AccountKey, int]
    held: Mapping[ReversalKey, int]


def sums_of(payment_intent_id: str, rows: Iterable[LedgerEntry]) -> Sums:
    """Return the sums of a payment's rows."""
    credits, amounts = Counter[AccountKey](), Counter[AccountKey]()
    taken, held = Counter[AccountKey](), Counter[ReversalKey]()
    for row in rows:
        key = (row.account_uid, row.currency)
        if row.reverses == payment_intent_id:
            taken[key] += row.credits
            held[*key, cause_of(row)] += row.amount
        else:
            credits[key] += row.credits
            amounts[key] += row.amount
    return Sums(_nonzero(credits), _nonzero(amounts), _nonzero(taken), _nonzero(held))


def expected_sums(payment: ExpectedPayment) -> Sums:
    """Return the sums that a payment's rows should have."""
    top_up = payment.top_up
    if top_up is None:
        return Sums({}, {}, {}, {})
    key = (top_up.account_uid, top_up.currency)
    held = {(*key, one.id): -one.amount for one in payment.comparable if one.amount}
    total = min(-sum(held.values()), top_up.amount)
    taken = {key: -(top_up.credits * total // top_up.amount)}
    return Sums({key: top_up.credits}, {key: top_up.amount}, _nonzero(taken), held)


def corrections(
    expected: ExpectedPayment, rows: Sequence[LedgerEntry], template: LedgerEntry
) -> list[LedgerEntry]:
    """Return the rows to add, so that a payment's rows sum to its state at Stripe.

    Args:
        expected: The state of the payment at Stripe.
        rows: All rows of the payment.
        template: A row with the event, the time and the reason of the repair.
    """
    payment_id = expected.payment_intent_id
    current, wanted = sums_of(payment_id, rows), expected_sums(expected)
    credits = _difference(wanted.credits, current.credits)
    amounts = _difference(wanted.amounts, current.amounts)
    found: list[dict[str, Any]] = [
        _fields(key, credits.get(key, 0), amounts.get(key, 0), payment_id, None)
        for key in sorted(credits.keys() | amounts.keys())
    ]
    taken = _difference(wanted.taken, current.taken)
    for cause, amount in sorted(_difference(wanted.held, current.held).items()):
        # Only the sum of the credits matters, so they are added to the first row of their account.
        moved = taken.pop(cause[:2], 0)
        found.append(_fields(cause[:2], moved, amount, cause[2], payment_id))
    found += [_fields(key, moved, 0, payment_id, payment_id) for key, moved in taken.items()]
    first = next_correction_number(payment_id, (row.id for row in rows))
    return [
        template.model_copy(update={"id": correction_id(payment_id, first + number), **fields})
        for number, fields in enumerate(found)
    ]


def correction_id(subject: str, number: int) -> str:
    """Return the id of a correction.

    Of two concurrent repairs, which compute the same number, only one can insert its row.

    Args:
        subject: The id of the payment, the row or the account that is corrected.
        number: The number of the correction, from 1.
    """
    return f"correction-{subject}-{number}"


def next_correction_number(subject: str, row_ids: Iterable[str]) -> int:
    """Return the number of the next correction.

    It is the highest number plus 1, and not the count of the corrections: one of them may have been
    deleted.

    Args:
        subject: The id of the payment, the row or the account that is corrected.
        row_ids: Ids of ledger rows, with those of all corrections of the subject.
    """
    prefix = correction_id(subject, 0).removesuffix("0")
    used = (row_id.removeprefix(prefix) for row_id in row_ids if row_id.startswith(prefix))
    return 1 + max((int(number) for number in used if number.isdigit()), default=0)


def recorded_reversals(
    expected: ExpectedPayment, rows: Iterable[LedgerEntry], before: Mapping[str, RecordedReversal]
) -> dict[str, RecordedReversal]:
    """Return the `reversals` of a top-up's row after a repair.

    `moves` never decreases, so that the id of the next row was never used.

    Args:
        expected: The state of the payment at Stripe.
        rows: All rows of the payment.
        before: The `reversals` of the top-up's row before the repair.
    """
    moves = {cause: one.moves for cause, one in before.items()}
    for row in rows:
        if row.reverses == expected.payment_intent_id and row.kind != "correction":
            cause, _, number = row.id.partition("-")
            counted = int(number) if number.isdigit() else 1
            moves[cause] = max(moves.get(cause, 0), counted)
    held = {one.id: one.amount for one in expected.comparable}
    # At least 1: a correction replaces the first row of a reversal that has none.
    return {
        cause: RecordedReversal(amount=held.get(cause, 0), moves=max(moves.get(cause, 0), 1))
        for cause in sorted(moves.keys() | {cause for cause, amount in held.items() if amount})
    }


def effective_fields(row: Mapping[str, Any], expected: ExpectedPayment) -> dict[str, Any]:
    """Return the fields of a top-up's row that must count as something else than they say.

    Args:
        row: The document.
        expected: The state of the payment at Stripe.
    """
    if expected.top_up is None:
        wanted: dict[str, Any] = {"kind": "top-up", "credits": 0}
    else:
        fields = {"account_uid", "credits", "amount", "currency"}
        wanted = {"kind": "top-up", **expected.top_up.model_dump(include=fields)}
    return {name: value for name, value in wanted.items() if row.get(name) != value}


def is_unknown(row: Mapping[str, Any]) -> bool:
    """Return whether a row is of an unknown kind, and no repair has corrected it."""
    return row.get("kind") not in ENTRY_KINDS and "corrected" not in row


def _fields(
    key: AccountKey, credits: int, amount: int, corrects: str, reverses: str | None
) -> dict[str, Any]:
    return {
        "account_uid": key[0],
        "currency": key[1],
        "credits": credits,
        "amount": amount,
        "corrects": corrects,
        "reverses": reverses,
    }


def _nonzero(counter: Mapping[Any, int]) -> dict[Any, int]:
    return {key: number for key, number in counter.items() if number}


def _difference(wanted: Mapping[Any, int], current: Mapping[Any, int]) -> dict[Any, int]:
    keys = wanted.keys() | current.keys()
    return _nonzero({key: wanted.get(key, 0) - current.get(key, 0) for key in keys})
