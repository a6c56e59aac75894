"""The ledger rows that are missing to what a payment's rows should sum to.

A payment's rows are its top-up, the rows of its refunds and disputes (`reverses`), and the
corrections of both (`corrects`). A correction has `reverses` as well where it is about a reversal.
Nothing here reads or writes the database.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..models import ENTRY_KINDS, LedgerEntry, Model, Reversal, TopUp
from .reversals import KeptReversal, cause_of

# The parts of a key: account and currency, and for the amounts of reversals the cause, too.
Place = tuple[str, str]
Cause = tuple[str, str, str]


class ExpectedPayment(Model):
    """What Stripe says of a payment: what it has bought, if anything, and what is held back."""

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
    """Credits and amounts of a payment's rows; what is 0 is left out."""

    credits: Mapping[Place, int]
    amounts: Mapping[Place, int]
    taken: Mapping[Place, int]
    held: Mapping[Cause, int]


def sums_of(payment_intent_id: str, rows: Iterable[LedgerEntry]) -> Sums:
    """Return what a payment's rows sum to.

    `credits` and `amounts` are those of the top-up, `taken` and `held` those of its reversals.
    """
    credits, amounts = Counter[Place](), Counter[Place]()
    taken, held = Counter[Place](), Counter[Cause]()
    for row in rows:
        place = (row.account_uid, row.currency)
        if row.reverses == payment_intent_id:
            taken[place] += row.credits
            held[*place, cause_of(row)] += row.amount
        else:
            credits[place] += row.credits
            amounts[place] += row.amount
    return Sums(_nonzero(credits), _nonzero(amounts), _nonzero(taken), _nonzero(held))


def expected_sums(due: ExpectedPayment) -> Sums:
    """Return what a payment's rows should sum to."""
    top_up = due.top_up
    if top_up is None:
        return Sums({}, {}, {}, {})
    place = (top_up.account_uid, top_up.currency)
    held = {(*place, one.id): -one.amount for one in due.comparable if one.amount}
    total = min(-sum(held.values()), top_up.amount)
    taken = {place: -(top_up.credits * total // top_up.amount)}
    return Sums({place: top_up.credits}, {place: top_up.amount}, _nonzero(taken), held)


def corrections(
    due: ExpectedPayment, rows: Sequence[LedgerEntry], template: LedgerEntry
) -> list[LedgerEntry]:
    """Return the rows that lead from `rows` to what is due; none where they sum to it.

    Args:
        due: what Stripe says.
        rows: all rows of the payment.
        template: has the event, the time and the reason of the repair.
    """
    payment_id, now = due.payment_intent_id, sums_of(due.payment_intent_id, rows)
    wanted = expected_sums(due)
    credits = _difference(wanted.credits, now.credits)
    amounts = _difference(wanted.amounts, now.amounts)
    found: list[dict[str, Any]] = [
        _fields(place, credits.get(place, 0), amounts.get(place, 0), payment_id, None)
        for place in sorted(credits.keys() | amounts.keys())
    ]
    taken = _difference(wanted.taken, now.taken)
    for cause, amount in sorted(_difference(wanted.held, now.held).items()):
        # The credits go with the first amount of their account: only their sum is due.
        moved = taken.pop(cause[:2], 0)
        found.append(_fields(cause[:2], moved, amount, cause[2], payment_id))
    found += [_fields(place, moved, 0, payment_id, payment_id) for place, moved in taken.items()]
    # Not their count: a row that was deleted must not lead to an id that is taken.
    prefix = correction_id(payment_id, 0)[:-1]
    used = [row.id.removeprefix(prefix) for row in rows if row.id.startswith(prefix)]
    first = 1 + max((int(number) for number in used if number.isdigit()), default=0)
    return [
        template.model_copy(update={"id": correction_id(payment_id, first + number), **fields})
        for number, fields in enumerate(found)
    ]


def correction_id(subject: str, number: int) -> str:
    """Return the id of a subject's correction: of two that repair at once, one is refused."""
    return f"correction-{subject}-{number}"


def kept_reversals(
    due: ExpectedPayment, rows: Iterable[LedgerEntry], before: Mapping[str, KeptReversal]
) -> dict[str, KeptReversal]:
    """Return what a top-up's row is to say of its refunds and disputes.

    `moves` never falls, so that the id of the next move is one that was never used.
    """
    moves = {cause: one.moves for cause, one in before.items()}
    for row in rows:
        if row.reverses == due.payment_intent_id and row.kind != "correction":
            cause, _, number = row.id.partition("-")
            counted = int(number) if number.isdigit() else 1
            moves[cause] = max(moves.get(cause, 0), counted)
    held = {one.id: one.amount for one in due.comparable}
    # A correction has taken the place of the first move where there was none.
    return {
        cause: KeptReversal(amount=held.get(cause, 0), moves=max(moves.get(cause, 0), 1))
        for cause in sorted(moves.keys() | {cause for cause, amount in held.items() if amount})
    }


def effective_fields(row: Mapping[str, Any], due: ExpectedPayment) -> dict[str, Any]:
    """Return those fields of a top-up's row that count as others than it says."""
    if due.top_up is None:
        wanted: dict[str, Any] = {"kind": "top-up", "credits": 0}
    else:
        fields = {"account_uid", "credits", "amount", "currency"}
        wanted = {"kind": "top-up", **due.top_up.model_dump(include=fields)}
    return {name: value for name, value in wanted.items() if row.get(name) != value}


def is_unknown(row: Mapping[str, Any]) -> bool:
    """Return whether a row is of a kind that nothing here writes, and no repair has seen it."""
    return row.get("kind") not in ENTRY_KINDS and "corrected" not in row


def _fields(
    place: Place, credits: int, amount: int, corrects: str, reverses: str | None
) -> dict[str, Any]:
    return {
        "account_uid": place[0],
        "currency": place[1],
        "credits": credits,
        "amount": amount,
        "corrects": corrects,
        "reverses": reverses,
    }


def _nonzero(counter: Mapping[Any, int]) -> dict[Any, int]:
    return {key: number for key, number in counter.items() if number}


def _difference(wanted: Mapping[Any, int], now: Mapping[Any, int]) -> dict[Any, int]:
    keys = wanted.keys() | now.keys()
    return _nonzero({key: wanted.get(key, 0) - now.get(key, 0) for key in keys})
