"""Read Stripe's objects in the shapes of different API versions.

A delivery has the shape of its endpoint's API version, which may be older than the version of the
service's own calls. Fields that moved on 2025-03-31 are read in both places, only here:
https://docs.stripe.com/changelog/basil.
"""

from collections.abc import Collection, Mapping
from typing import Any

from ..clock import from_epoch
from ..models import InvoiceSummary, Reversal, SubscriptionSnapshot

StripeData = Mapping[str, Any]
"""A Stripe object as plain data."""

ACCOUNT_UID = "account_uid"
"""The metadata key that names the account, in each Stripe object that the service creates."""


def id_of(reference: Any) -> str | None:
    """Return the id in an expandable field: https://docs.stripe.com/api/expanding_objects.

    Args:
        reference: The field's value: an id or an object with an `id`.

    Returns:
        None if it is neither.
    """
    if isinstance(reference, Mapping):
        reference = reference.get("id")
    return reference if isinstance(reference, str) else None


# Refunds in these states count. A refund that failed, was canceled, or waits for the payer to act
# does not: https://docs.stripe.com/api/refunds/object#refund_object-status.
_EFFECTIVE_REFUNDS = frozenset({"pending", "succeeded"})

# In these states Stripe has withdrawn the money. An inquiry (`warning_…`) and a prevented dispute
# withdraw none: https://docs.stripe.com/api/disputes/object#dispute_object-status.
_OPEN_DISPUTES = frozenset(
    {"needs_response", "under_review", "appeal_needs_response", "appeal_under_review"}
)
_EFFECTIVE_DISPUTES = _OPEN_DISPUTES | {"lost"}


def payment_intent_id_of(data: StripeData) -> str | None:
    """Return the id of the PaymentIntent of a charge, a refund or a dispute, or None."""
    return id_of(data.get("payment_intent"))


def refund_reversal(refund: StripeData) -> Reversal:
    """Return the amount that a refund takes back from its payment, as a reversal."""
    is_effective = refund.get("status") in _EFFECTIVE_REFUNDS
    return Reversal(
        id=refund["id"],
        kind="refund",
        amount=refund["amount"] if is_effective else 0,
        currency=refund["currency"],
    )


def dispute_reversal(dispute: StripeData) -> Reversal:
    """Return the amount that a dispute takes back from its payment, as a reversal."""
    status = dispute.get("status")
    return Reversal(
        id=dispute["id"],
        kind="dispute",
        amount=dispute["amount"] if status in _EFFECTIVE_DISPUTES else 0,
        currency=dispute["currency"],
        is_open=status in _OPEN_DISPUTES,
    )


def mapping_in(data: StripeData, field: str) -> StripeData:
    """Return the object in a field, or an empty mapping if the field holds anything else.

    The signature proves that the data is from Stripe. It does not prove the types of the fields.
    """
    value = data.get(field)
    return value if isinstance(value, Mapping) else {}


def metadata_of(data: StripeData) -> Mapping[str, str]:
    """Return an object's metadata: https://docs.stripe.com/api/metadata.

    Values that are not strings are left out, because a value may become part of a query.
    """
    metadata = mapping_in(data, "metadata")
    return {key: value for key, value in metadata.items() if isinstance(value, str)}


def paid_at(intent: StripeData) -> int:
    """Return when a PaymentIntent was paid, in epoch seconds.

    This is the time of its latest charge if that is expanded, else of the PaymentIntent, which is
    created when the form is shown and may be much older.
    """
    charge = mapping_in(intent, "latest_charge")
    return int(charge.get("created", intent["created"]))


def with_charge_id(intent: StripeData) -> StripeData:
    """Return a PaymentIntent as it is in an event: with the id of its charge only."""
    return {**intent, "latest_charge": id_of(intent.get("latest_charge"))}


def account_uid_of(data: StripeData) -> str | None:
    """Return the account in the metadata of an object, or of the subscription of an invoice."""
    parent = mapping_in(data, "parent") or data  # an invoice before 2025-03-31 has no parent
    details = mapping_in(parent, "subscription_details")
    return metadata_of(data).get(ACCOUNT_UID) or metadata_of(details).get(ACCOUNT_UID)


def parse_count(text: Any) -> int | None:
    """Return the number in a metadata value.

    Returns:
        None if the text is not a number of up to 18 digits.
    """
    digits = str(text)
    # int() also accepts "1_000", " 7 " and the digits of other alphabets.
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else None


def invoice_subscription_id(invoice: StripeData) -> str | None:
    """Return the id of the subscription of an invoice, or None for a one-off invoice."""
    details = mapping_in(mapping_in(invoice, "parent"), "subscription_details")
    return id_of(details.get("subscription")) or id_of(invoice.get("subscription"))


def invoice_product_ids(invoice: StripeData) -> set[str]:
    """Return the ids of the products on an invoice's lines."""
    lines = _items_in(invoice, "lines")
    return {product for line in lines if (product := _line_product_id(line))}


def subscription_product_ids(subscription: StripeData) -> set[str]:
    """Return the ids of the products of a subscription's items."""
    prices = (mapping_in(item, "price") for item in _items_in(subscription, "items"))
    return {product for price in prices if (product := id_of(price.get("product")))}


def subscription_snapshot(
    subscription: StripeData, *, account_uid: str | None, product_ids: Collection[str]
) -> SubscriptionSnapshot:
    """Return the snapshot of a subscription.

    Args:
        subscription: The subscription, as Stripe sends it.
        account_uid: The account that it belongs to, or None.
        product_ids: The products for sale. The plan is read from the first item with one of them.

    Raises:
        ValidationError: A field has an invalid value.
        LookupError: A field is missing.
    """
    item = _item_of(subscription, product_ids)
    price = mapping_in(item, "price")
    metadata = metadata_of(price)
    recurring = mapping_in(price, "recurring")
    start, end = _current_period(subscription, item)
    return SubscriptionSnapshot(
        id=subscription["id"],
        account_uid=account_uid,
        customer_id=id_of(subscription["customer"]) or "",
        status=subscription["status"],
        price_id=price["id"],
        product_id=id_of(price.get("product")) or "",
        plan_name=price_name(price),
        plan_code=price_code(price),
        amount=price.get("unit_amount"),
        currency=price["currency"],
        interval=recurring.get("interval"),
        interval_count=recurring.get("interval_count"),
        included_runs=parse_count(metadata.get("included_runs")),
        current_period_start=from_epoch(start),
        current_period_end=from_epoch(end),
        cancel_at_period_end=bool(subscription.get("cancel_at_period_end")),
        cancel_at=from_epoch(subscription.get("cancel_at")),
        canceled_at=from_epoch(subscription.get("canceled_at")),
        ended_at=from_epoch(subscription.get("ended_at")),
        created_at=from_epoch(subscription["created"]),  # type: ignore[arg-type]
        latest_invoice=_invoice_summary(subscription.get("latest_invoice")),
    )


def price_name(price: StripeData) -> str | None:
    """Return the price's nickname, or else the name of its product if that is expanded."""
    product = price.get("product")
    name = product.get("name") if isinstance(product, Mapping) else None
    return price.get("nickname") or name


def price_code(price: StripeData) -> str:
    """Return a plan's code: the lookup key, else `code` in the metadata, else the price's id."""
    return price.get("lookup_key") or metadata_of(price).get("code") or price["id"]


def _line_product_id(line: StripeData) -> str | None:
    pricing = mapping_in(mapping_in(line, "pricing"), "price_details")
    return id_of(pricing.get("product")) or id_of(mapping_in(line, "price").get("product"))


def _items_in(data: StripeData, field: str) -> list[StripeData]:
    """Return the objects in an embedded list: https://docs.stripe.com/api/pagination."""
    items = mapping_in(data, field).get("data")
    return [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []


def _item_of(subscription: StripeData, product_ids: Collection[str]) -> StripeData:
    items = _items_in(subscription, "items")
    for_sale = (
        item for item in items if id_of(mapping_in(item, "price").get("product")) in product_ids
    )
    return next(for_sale, items[0])


def _current_period(subscription: StripeData, item: StripeData) -> tuple[int | None, int | None]:
    if "current_period_end" in subscription:  # before 2025-03-31
        return subscription.get("current_period_start"), subscription["current_period_end"]
    return item.get("current_period_start"), item.get("current_period_end")


def _invoice_summary(invoice: Any) -> InvoiceSummary | None:
    if not isinstance(invoice, Mapping):
        return InvoiceSummary(id=invoice) if isinstance(invoice, str) else None
    transitions = mapping_in(invoice, "status_transitions")
    return InvoiceSummary(
        id=invoice["id"],
        status=invoice.get("status"),
        amount=invoice.get("total"),
        currency=invoice.get("currency"),
        paid_at=from_epoch(transitions.get("paid_at")),
        attempt_count=invoice.get("attempt_count"),
    )
