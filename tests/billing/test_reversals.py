"""Credits are taken back in proportion to the amount, and never more than were added."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datalayer_stripe.models import LedgerEntry, Reversal
from datalayer_stripe.store.reversals import RecordedReversal, ReversedTopUp, cause_of, movements
from datalayer_stripe.stripe_api.objects import (
    dispute_reversal,
    payment_intent_id_of,
    refund_reversal,
)

CAUSES = ("re_1", "re_2", "re_3", "du_1")

credits_given = st.integers(1, 10_000)
amounts_paid = st.integers(1, 10_000)
# State at Stripe: the amount of each refund or dispute, in thousandths of the payment.
states_at_stripe = st.dictionaries(st.sampled_from(CAUSES), st.integers(0, 1500), min_size=1)


def bought(credits: int, amount: int) -> LedgerEntry:
    return LedgerEntry(
        id="pi_1",
        account_uid="alice",
        kind="top-up",
        credits=credits,
        amount=amount,
        currency="usd",
        price_id="price_1",
        event_id="evt_1",
        created_at=datetime(2026, 11, 1, tzinfo=UTC),
    )


def reversals_of(amounts: dict[str, int]) -> list[Reversal]:
    return [
        Reversal(
            id=cause,
            kind="dispute" if cause.startswith("du") else "refund",
            amount=amount,
            currency="usd",
        )
        for cause, amount in amounts.items()
    ]


def apply_states(top_up: LedgerEntry, states: Sequence[dict[str, int]]) -> list[LedgerEntry]:
    """Return the ledger rows of the states, applied one after the other."""
    kept: dict[str, RecordedReversal] = {}
    rows: list[LedgerEntry] = []
    for amounts in states:
        found = movements(ReversedTopUp(entry=top_up, reversals=kept), reversals_of(amounts))
        kept = found.reversals
        rows += found.entries
    return rows


@settings(deadline=None)  # a busy machine is slow
@given(credits_given, amounts_paid, st.lists(st.integers(1, 5000), max_size=6))
def test_partial_refunds_sum_to_all_credits_and_never_to_more(
    credits: int, amount: int, parts: list[int]
) -> None:
    top_up = bought(credits, amount)
    left, taken = amount, 0
    amounts: dict[str, int] = {}
    for number, wanted in enumerate([*parts, amount]):
        part = min(wanted, left)
        if part == 0:
            break
        left -= part
        amounts[f"re_{number}"] = part
        rows = apply_states(top_up, [amounts])
        assert all(row.credits <= 0 and row.amount < 0 for row in rows)
        now = -sum(row.credits for row in rows)
        assert taken <= now <= credits
        assert now <= credits * (amount - left) / amount < now + 1, "rounded down once, in total"
        taken = now
    assert taken == credits, "the whole amount takes all credits"


@settings(deadline=None)  # a busy machine is slow
@given(credits_given, amounts_paid, st.lists(states_at_stripe, max_size=8))
def test_rows_sum_to_the_last_state_after_any_earlier_states(
    credits: int, amount: int, states: list[dict[str, int]]
) -> None:
    top_up = bought(credits, amount)
    in_money = [{cause: amount * part // 1000 for cause, part in state.items()} for state in states]
    rows = apply_states(top_up, in_money)
    held: dict[str, int] = {}
    for state in in_money:
        held |= state
    assert len({row.id for row in rows}) == len(rows), "each row has its own id"
    assert -sum(row.credits for row in rows) == top_up.taken_back(sum(held.values()))
    for cause, expected in held.items():
        assert -sum(row.amount for row in rows if cause_of(row) == cause) == expected
    balance = credits
    for row in rows:
        balance += row.credits
        assert 0 <= balance <= credits, "never more than were added, nor less than zero"
    assert apply_states(top_up, [*in_money, *in_money[-1:]]) == rows, (
        "the same state again moves nothing"
    )


def test_kind_of_a_row_depends_on_its_direction() -> None:
    states: list[dict[str, int]] = [
        {"re_1": 200, "du_1": 0},
        {"re_1": 200, "du_1": 500},
        {"re_1": 0, "du_1": 500},
        {"re_1": 0, "du_1": 0},
        {"re_1": 0, "du_1": 500},
    ]
    rows = apply_states(bought(50, 500), states)
    assert [(row.id, row.kind, row.credits, row.amount) for row in rows] == [
        ("re_1", "refund", -20, -200),
        ("du_1", "dispute", -30, -500),
        ("re_1-2", "refund-failed", 0, 200),
        ("du_1-2", "dispute-won", 50, 500),
        ("du_1-3", "dispute", -50, -500),
    ]
    assert {(row.reverses, row.price_id, row.currency) for row in rows} == {
        ("pi_1", "price_1", "usd")
    }


@pytest.mark.parametrize(
    ("status", "is_effective"),
    [
        ("succeeded", True),
        ("pending", True),
        ("requires_action", False),
        ("failed", False),
        ("canceled", False),
        (None, False),
    ],
)
def test_refund_is_effective_unless_it_failed_or_waits(
    status: str | None, is_effective: bool
) -> None:
    refund = {"id": "re_1", "amount": 7, "currency": "usd", "status": status}
    assert refund_reversal(refund).amount == (7 if is_effective else 0)


@pytest.mark.parametrize(
    ("status", "is_effective", "is_open"),
    [
        ("needs_response", True, True),
        ("under_review", True, True),
        ("appeal_needs_response", True, True),
        ("appeal_under_review", True, True),
        ("lost", True, False),
        ("won", False, False),
        ("prevented", False, False),
        ("warning_needs_response", False, False),
        ("warning_under_review", False, False),
        ("warning_closed", False, False),
    ],
)
def test_dispute_is_effective_while_its_money_is_withdrawn(
    status: str, is_effective: bool, is_open: bool
) -> None:
    dispute = {"id": "du_1", "amount": 7, "currency": "usd", "status": status}
    reversal = dispute_reversal(dispute)
    assert (reversal.amount, reversal.is_open) == (7 if is_effective else 0, is_open)


def test_payment_intent_id_is_read_expanded_or_not() -> None:
    assert payment_intent_id_of({"payment_intent": "pi_1"}) == "pi_1"
    assert payment_intent_id_of({"payment_intent": {"id": "pi_1"}}) == "pi_1"
    assert payment_intent_id_of({"payment_intent": None}) is None
    assert payment_intent_id_of({}) is None
