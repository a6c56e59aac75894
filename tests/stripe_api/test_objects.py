"""Stripe's objects are read equally in the current shape and in the one before 2025-03-31."""

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from datalayer_stripe.models import InvoiceSummary, SubscriptionSnapshot
from datalayer_stripe.stripe_api import objects
from tests.support.app import ACCOUNT, RECORDED_PLAN_PRODUCT, recorded

SUBSCRIPTION = "sub_1xNnttCz7hWRKLEpT7zELPag"
PRODUCTS = {RECORDED_PLAN_PRODUCT}

Data = dict[str, Any]


def new(name: str) -> Data:
    """Return the object of a recorded event in the current shape."""
    return dict(json.loads(recorded(name))["data"]["object"])


def old(name: str) -> Data:
    """Return the object in the shape before https://docs.stripe.com/changelog/basil."""
    data = new(name)
    if data["object"] == "subscription":
        for item in data["items"]["data"]:
            for field in ("current_period_start", "current_period_end"):
                data[field] = item.pop(field)
    else:
        data["subscription"] = data.pop("parent")["subscription_details"]["subscription"]
        for line in data["lines"]["data"]:
            details = line.pop("pricing")["price_details"]
            line["price"] = {"id": details["price"], "object": "price", **details}
    return data


both_shapes = pytest.mark.parametrize("shape", [new, old])


def snapshot(data: Data, account_uid: str | None = ACCOUNT) -> SubscriptionSnapshot:
    return objects.subscription_snapshot(data, account_uid=account_uid, product_ids=PRODUCTS)


@both_shapes
def test_all_fields_of_a_subscription_are_read(shape: Callable[[str], Data]) -> None:
    assert snapshot(shape("customer.subscription.updated.past-due")) == SubscriptionSnapshot(
        id=SUBSCRIPTION,
        account_uid=ACCOUNT,
        customer_id="cus_auG5oDCwpKHLK4",
        status="past_due",
        price_id="price_1xNnteCz7hWRKLEpnFI4zyXu",
        product_id=RECORDED_PLAN_PRODUCT,
        plan_name=None,
        plan_code="monthly",
        amount=2900,
        currency="usd",
        interval="month",
        interval_count=1,
        included_runs=None,
        current_period_start=datetime.fromtimestamp(1798880421, UTC),
        current_period_end=datetime.fromtimestamp(1801558821, UTC),
        cancel_at_period_end=False,
        cancel_at=None,
        canceled_at=None,
        ended_at=None,
        created_at=datetime.fromtimestamp(1793610021, UTC),
        latest_invoice=InvoiceSummary(id="in_1xNntzCz7hWRKLEpN57xPciz"),
    )


@both_shapes
@pytest.mark.parametrize(
    ("name", "status", "ends"),
    [
        ("customer.subscription.created", "active", False),
        ("customer.subscription.updated.cancel-scheduled", "active", True),
        ("customer.subscription.deleted", "canceled", True),
    ],
)
def test_end_of_a_subscription_is_read(
    shape: Callable[[str], Data], name: str, status: str, ends: bool
) -> None:
    data = shape(name)
    read = snapshot(data)
    assert (read.status, read.cancel_at is not None) == (status, data["cancel_at"] is not None)
    assert (read.ended_at is not None) is (status == "canceled")
    assert read.ends_with_period is ends
    assert read.current_period_end is not None


@both_shapes
@pytest.mark.parametrize("name", ["invoice.paid", "invoice.payment_failed"])
def test_subscription_and_products_of_an_invoice_are_read(
    shape: Callable[[str], Data], name: str
) -> None:
    invoice = shape(name)
    assert objects.invoice_subscription_id(invoice) == SUBSCRIPTION
    assert objects.invoice_product_ids(invoice) == {RECORDED_PLAN_PRODUCT}


@pytest.mark.parametrize(
    "invoice", [{}, {"parent": None}, {"parent": {"subscription_details": None}, "lines": None}]
)
def test_one_off_invoice_has_no_subscription(invoice: Data) -> None:
    assert objects.invoice_subscription_id(invoice) is None
    assert objects.invoice_product_ids(invoice) == set()


@both_shapes
def test_expanded_subscription_of_an_invoice_is_read_as_its_id(
    shape: Callable[[str], Data],
) -> None:
    invoice = shape("invoice.paid")
    holder = invoice if shape is old else invoice["parent"]["subscription_details"]
    holder["subscription"] = {"id": SUBSCRIPTION, "object": "subscription"}
    assert objects.invoice_subscription_id(invoice) == SUBSCRIPTION


@both_shapes
def test_expanded_objects_are_read(shape: Callable[[str], Data]) -> None:
    data = shape("customer.subscription.created")
    price = data["items"]["data"][0]["price"]
    price["product"] = {"id": RECORDED_PLAN_PRODUCT, "name": "Datalayer Monthly"}
    price["metadata"] = {"included_runs": "300"}
    data["customer"] = {"id": "cus_1", "object": "customer"}
    data["latest_invoice"] = new("invoice.paid")
    read = snapshot(data)
    assert (read.product_id, read.plan_name) == (RECORDED_PLAN_PRODUCT, "Datalayer Monthly")
    assert (read.customer_id, read.included_runs) == ("cus_1", 300)
    assert read.latest_invoice == InvoiceSummary(
        id="in_1xNnttCz7hWRKLEp2gv87X61",
        status="paid",
        amount=2900,
        currency="usd",
        paid_at=datetime.fromtimestamp(1793610021, UTC),
        attempt_count=1,
    )
    assert objects.subscription_product_ids(data) == {RECORDED_PLAN_PRODUCT}


def test_item_of_a_product_for_sale_is_read_among_several() -> None:
    data = new("customer.subscription.created")
    [for_sale] = data["items"]["data"]
    other = copy.deepcopy(for_sale)
    other["price"] |= {"id": "price_other", "product": "prod_other"}
    data["items"]["data"] = [other, for_sale]
    assert snapshot(data).price_id == for_sale["price"]["id"]
    assert objects.subscription_product_ids(data) == {"prod_other", RECORDED_PLAN_PRODUCT}


@pytest.mark.parametrize("missing", ["id", "customer", "status", "created", "items"])
def test_subscription_without_a_required_field_is_refused(missing: str) -> None:
    data = new("customer.subscription.created")
    del data[missing]
    with pytest.raises((ValidationError, LookupError)):
        snapshot(data)


@pytest.mark.parametrize(
    ("price", "name", "code"),
    [
        ({"id": "price_1"}, None, "price_1"),
        ({"id": "price_1", "nickname": "Team", "lookup_key": "team"}, "Team", "team"),
        ({"id": "price_1", "metadata": {"code": "t"}, "product": "prod_1"}, None, "t"),
        ({"id": "price_1", "nickname": "", "product": {"name": "Monthly"}}, "Monthly", "price_1"),
    ],
)
def test_name_and_code_of_a_price_are_read(price: Data, name: str | None, code: str) -> None:
    assert (objects.price_name(price), objects.price_code(price)) == (name, code)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("7", 7),
        (7, 7),
        ("007", 7),
        ("0", 0),
        ("9" * 18, int("9" * 18)),
        ("9" * 19, None),
        ("", None),
        ("-7", None),
        ("+7", None),
        (" 7", None),
        ("7\n", None),
        ("7.0", None),
        ("1_000", None),
        ("1e3", None),
        ("\u0667", None),
        ("\u00b2", None),
        (None, None),
        (True, None),
        ([7], None),
    ],
)
def test_count_consists_of_ascii_digits_only(text: Any, number: int | None) -> None:
    assert objects.parse_count(text) == number


@pytest.mark.parametrize(
    ("reference", "found"),
    [("cus_1", "cus_1"), ({"id": "cus_1"}, "cus_1"), ({}, None), (None, None), (7, None)],
)
def test_id_is_read_from_an_id_or_an_object(reference: Any, found: str | None) -> None:
    assert objects.id_of(reference) == found
