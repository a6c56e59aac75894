"""How much is taken back: in proportion, never more than was given, whatever it is divided into."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datalayer_stripe.models import LedgerEntry, Reversal
from datalayer_stripe.store.reversals import KeptReversal, ReversedTopUp, cause_of, movements
from datalayer_stripe.stripe_api.objects import (
    dispute_reversal,
    payment_intent_id_of,
    refund_reversal,
)

CAUSES = ("re_1", "re_2", "re_3", "du_1")

credits_given = st.integers(1, 10_000)
amounts_paid = st.integers(1, 10_000)
# One look at Stripe: what each cause holds back, as parts of a thousand of what was paid.
looks = st.dictionaries(st.sampled_from(CAUSES), st.integers(0, 1500), min_size=1)


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


def seen(amounts: dict[str, int]) -> list[Reversal]:
    return [
        Reversal(
            id=cause,
            kind="dispute" if cause.startswith("du") else "refund",
            amount=amount,
            currency="usd",
        )
        for cause, amount in amounts.items()
    ]


def follow(top_up: LedgerEntry, states: Sequence[dict[str, int]]) -> list[LedgerEntry]:
    """The rows of one look after the other."""
    kept: dict[str, KeptReversal] = {}
    rows: list[LedgerEntry] = []
    for amounts in states:
        found = movements(ReversedTopUp(entry=top_up, reversals=kept), seen(amounts))
        kept = found.reversals
        rows += found.entries
    return rows


@given(credits_given, amounts_paid, st.lists(st.integers(1, 5000), max_size=6))
def test_partial_refunds_sum_to_the_whole_and_never_to_more(
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
        rows = follow(top_up, [amounts])
        assert all(row.credits <= 0 and row.amount < 0 for row in rows)
        now = -sum(row.credits for row in rows)
        assert taken <= now <= credits
        assert now <= credits * (amount - left) / amount < now + 1, "rounded down, once"
        taken = now
    assert taken == credits, "the whole amount takes the whole credits"


@given(credits_given, amounts_paid, st.lists(looks, max_size=8))
def test_whatever_was_seen_before_the_rows_say_what_is_held_back_now(
    credits: int, amount: int, states: list[dict[str, int]]
) -> None:
    top_up = bought(credits, amount)
    in_money = [{cause: amount * part // 1000 for cause, part in state.items()} for state in states]
    rows = follow(top_up, in_money)
    held: dict[str, int] = {}
    for state in in_money:
        held |= state
    assert len({row.id for row in rows}) == len(rows), "each move has an id of its own"
    assert -sum(row.credits for row in rows) == top_up.taken_back(sum(held.values()))
    for cause, expected in held.items():
        assert -sum(row.amount for row in rows if cause_of(row) == cause) == expected
    balance = credits
    for row in rows:
        balance += row.credits
        assert 0 <= balance <= credits, "never more than it gave, nor more than it took"
    assert follow(top_up, [*in_money, *in_money[-1:]]) == rows, "the same look again moves nothing"


def test_a_row_says_which_way_it_went() -> None:
    states: list[dict[str, int]] = [
        {"re_1": 200, "du_1": 0},
        {"re_1": 200, "du_1": 500},
        {"re_1": 0, "du_1": 500},
        {"re_1": 0, "du_1": 0},
        {"re_1": 0, "du_1": 500},
    ]
    rows = follow(bought(50, 500), states)
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
    ("status", "counts"),
    [
        ("succeeded", True),
        ("pending", True),
        ("requires_action", False),
        ("failed", False),
        ("canceled", False),
        (None, False),
    ],
)
def test_a_refund_counts_while_its_money_is_promised(status: str | None, counts: bool) -> None:
    refund = {"id": "re_1", "amount": 7, "currency": "usd", "status": status}
    assert refund_reversal(refund).amount == (7 if counts else 0)


@pytest.mark.parametrize(
    ("status", "counts", "is_open"),
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
def test_a_dispute_counts_while_its_money_is_withdrawn(
    status: str, counts: bool, is_open: bool
) -> None:
    dispute = {"id": "du_1", "amount": 7, "currency": "usd", "status": status}
    reversal = dispute_reversal(dispute)
    assert (reversal.amount, reversal.is_open) == (7 if counts else 0, is_open)


def test_the_payment_is_read_expanded_or_not() -> None:
    assert payment_intent_id_of({"payment_intent": "pi_1"}) == "pi_1"
    assert payment_intent_id_of({"payment_intent": {"id": "pi_1"}}) == "pi_1"
    assert payment_intent_id_of({"payment_intent": None}) is None
    assert payment_intent_id_of({}) is None
