"""The readers of metadata return what the writers wrote, and check everything else."""

from typing import Any

import pytest

from datalayer_stripe.billing.metadata import (
    TopUpMetadata,
    account_of_customer,
    customer_metadata,
    is_ours,
    read_top_up_metadata,
    top_up_metadata,
    validated_top_up,
)
from datalayer_stripe.errors import Reject
from datalayer_stripe.models import TopUp
from tests.support.app import ACCOUNT

METADATA = top_up_metadata(account_uid=ACCOUNT, price_id="price_1", credits=50)
PAID: dict[str, Any] = {
    "id": "pi_1",
    "object": "payment_intent",
    "status": "succeeded",
    "amount": 500,
    "amount_received": 500,
    "currency": "usd",
    "metadata": METADATA,
}


def test_metadata_of_a_top_up_is_read_as_it_was_written() -> None:
    assert read_top_up_metadata(PAID) == TopUpMetadata(ACCOUNT, "price_1", 50)
    assert validated_top_up(PAID) == TopUp(
        payment_intent_id="pi_1",
        account_uid=ACCOUNT,
        price_id="price_1",
        credits=50,
        amount=500,
        currency="usd",
    )


@pytest.mark.parametrize("metadata", [{}, None, {"order": "7"}, {"credits": "many"}])
def test_missing_and_malformed_values_are_read_as_none(metadata: Any) -> None:
    assert read_top_up_metadata({"metadata": metadata}) == TopUpMetadata(None, None, None)


@pytest.mark.parametrize("missing", METADATA)
def test_two_of_three_keys_identify_a_top_up(missing: str) -> None:
    two = {key: value for key, value in METADATA.items() if key != missing}
    assert is_ours({"metadata": two})
    for key in METADATA:
        assert not is_ours({"metadata": {key: METADATA[key]}})
    with pytest.raises(Reject, match=f"lacks {missing}"):
        validated_top_up({**PAID, "metadata": two})


def test_account_of_a_customer_is_read_as_it_was_written() -> None:
    assert account_of_customer({"metadata": customer_metadata(ACCOUNT)}) == ACCOUNT


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"account_uid": ACCOUNT},
        {"account_uid": ACCOUNT, "made_by": "another"},
        {"account_uid": "a b", "made_by": "datalayer-stripe"},
        {"made_by": "datalayer-stripe"},
    ],
)
def test_customer_of_another_system_has_no_account(metadata: Any) -> None:
    assert account_of_customer({"metadata": metadata}) is None
