"""Read Stripe's objects in every shape in which they come.

A delivery has the shape of its endpoint's API version, which may be older than the one that we
pin for our own calls. What moved on 2025-03-31 is read here in both places and nowhere else:
docs.stripe.com/changelog/basil.
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
    """The id behind an expandable field: docs.stripe.com/api/expanding_objects."""
    if isinstance(reference, Mapping):
        reference = reference.get("id")
    return reference if isinstance(reference, str) else None


# docs.stripe.com/api/refunds/object#refund_object-status: promised or given back; what has failed,
# was canceled, or waits for the payer to act, is not.
_COUNTING_REFUNDS = frozenset({"pending", "succeeded"})

# docs.stripe.com/api/disputes/object#dispute_object-status: the money is withdrawn. An inquiry
# (`warning_…`) withdraws none, nor does a dispute that was prevented.
_OPEN_DISPUTES = frozenset(
    {"needs_response", "under_review", "appeal_needs_response", "appeal_under_review"}
)
_COUNTING_DISPUTES = _OPEN_DISPUTES | {"lost"}


def payment_intent_id_of(data: StripeData) -> str | None:
    """The PaymentIntent of a charge, a refund or a dispute; None where there is none."""
    return id_of(data.get("payment_intent"))


def refund_reversal(refund: StripeData) -> Reversal:
    """What a refund holds back of its payment."""
    counts = refund.get("status") in _COUNTING_REFUNDS
    return Reversal(
        id=refund["id"],
        kind="refund",
        amount=refund["amount"] if counts else 0,
        currency=refund["currency"],
    )


def dispute_reversal(dispute: StripeData) -> Reversal:
    """What a dispute holds back of its payment."""
    status = dispute.get("status")
    return Reversal(
        id=dispute["id"],
        kind="dispute",
        amount=dispute["amount"] if status in _COUNTING_DISPUTES else 0,
        currency=dispute["currency"],
        is_open=status in _OPEN_DISPUTES,
    )


def mapping_in(data: StripeData, field: str) -> StripeData:
    """Return a field that holds an object; an empty mapping where it holds anything else.

    What Stripe sends is verified as Stripe's and not for its types.
    """
    value = data.get(field)
    return value if isinstance(value, Mapping) else {}


def metadata_of(data: StripeData) -> Mapping[str, str]:
    """Return an object's metadata: https://docs.stripe.com/api/metadata.

    Only values that are texts, as Stripe's all are: a value may become part of a query.
    """
    metadata = mapping_in(data, "metadata")
    return {key: value for key, value in metadata.items() if isinstance(value, str)}


def paid_at(intent: StripeData) -> int:
    """Return when a PaymentIntent was paid, in epoch seconds.

    The time of its latest charge, where that is expanded. A PaymentIntent itself is created when
    the form is shown, which may be long before.
    """
    charge = mapping_in(intent, "latest_charge")
    return int(charge.get("created", intent["created"]))


def without_charge(intent: StripeData) -> StripeData:
    """Return a PaymentIntent as an event holds it: with the id of its charge."""
    return {**intent, "latest_charge": id_of(intent.get("latest_charge"))}


def account_uid_of(data: StripeData) -> str | None:
    """The account that an object of ours names, in its own metadata or its subscription's."""
    parent = mapping_in(data, "parent") or data  # an invoice before 2025-03-31 has no parent
    details = mapping_in(parent, "subscription_details")
    return metadata_of(data).get(ACCOUNT_UID) or metadata_of(details).get(ACCOUNT_UID)


def parse_count(text: Any) -> int | None:
    """A count that Stripe's metadata holds as text, or None where it is no plain number."""
    digits = str(text)
    # ASCII digits alone: int() would also take "1_000", " 7 " and other alphabets' digits.
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else None


def invoice_subscription_id(invoice: StripeData) -> str | None:
    """The subscription that an invoice bills, or None for a one-off invoice."""
    details = mapping_in(mapping_in(invoice, "parent"), "subscription_details")
    return id_of(details.get("subscription")) or id_of(invoice.get("subscription"))


def invoice_product_ids(invoice: StripeData) -> set[str]:
    """The products on an invoice's lines."""
    lines = _listed(invoice, "lines")
    return {product for line in lines if (product := _line_product_id(line))}


def subscription_product_ids(subscription: StripeData) -> set[str]:
    """The products on a subscription's items."""
    prices = (mapping_in(item, "price") for item in _listed(subscription, "items"))
    return {product for price in prices if (product := id_of(price.get("product")))}


def subscription_snapshot(
    subscription: StripeData, *, account_uid: str | None, product_ids: Collection[str]
) -> SubscriptionSnapshot:
    """Our copy of a subscription, read from its first item of one of `product_ids`.

    Raises pydantic's ValidationError or KeyError when `subscription` is not Stripe's object.
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
    """The price's nickname, else its product's name where the product is expanded."""
    product = price.get("product")
    name = product.get("name") if isinstance(product, Mapping) else None
    return price.get("nickname") or name


def price_code(price: StripeData) -> str:
    """A short stable word for a plan: the lookup key, else the metadata's `code`, else the id."""
    return price.get("lookup_key") or metadata_of(price).get("code") or price["id"]


def _line_product_id(line: StripeData) -> str | None:
    pricing = mapping_in(mapping_in(line, "pricing"), "price_details")
    return id_of(pricing.get("product")) or id_of(mapping_in(line, "price").get("product"))


def _listed(data: StripeData, field: str) -> list[StripeData]:
    """The objects in one of Stripe's lists: https://docs.stripe.com/api/pagination."""
    items = mapping_in(data, field).get("data")
    return [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []


def _item_of(subscription: StripeData, product_ids: Collection[str]) -> StripeData:
    items = _listed(subscription, "items")
    ours = (
        item for item in items if id_of(mapping_in(item, "price").get("product")) in product_ids
    )
    return next(ours, items[0])


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
