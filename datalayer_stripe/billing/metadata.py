"""Keys, writers and readers of the metadata in the Stripe objects that the service creates.

Metadata connects an object at Stripe with an account: https://docs.stripe.com/api/metadata.
"""

from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from ..errors import Reject
from ..models import AccountUid, TopUp
from ..stripe_api.objects import ACCOUNT_UID, StripeData, metadata_of, parse_count

PRICE_ID = "price_id"
CREDITS = "credits"
SUBSCRIPTION_ID = "subscription_id"

TOP_UP_KEYS = frozenset({ACCOUNT_UID, PRICE_ID, CREDITS})
"""The metadata keys of a top-up's PaymentIntent."""

# Marks the customers that the service creates: other systems may use `account_uid`, too.
_MADE_BY = "made_by"
_SERVICE = "datalayer-stripe"

_account_uids: TypeAdapter[str] = TypeAdapter(AccountUid)


# Writers


def top_up_metadata(*, account_uid: str, price_id: str, credits: int) -> dict[str, str]:
    """Return the metadata of the PaymentIntent of a top-up.

    Args:
        account_uid: The account that gets the credits.
        price_id: The price of the package, `price_…`.
        credits: The number of credits in the package.
    """
    return {ACCOUNT_UID: account_uid, PRICE_ID: price_id, CREDITS: str(credits)}


def customer_metadata(account_uid: str) -> dict[str, str]:
    """Return the metadata of an account's customer."""
    return {ACCOUNT_UID: account_uid, _MADE_BY: _SERVICE}


def subscription_metadata(account_uid: str) -> dict[str, str]:
    """Return the metadata of an account's subscription."""
    return {ACCOUNT_UID: account_uid}


def setup_intent_metadata(account_uid: str, subscription_id: str) -> dict[str, str]:
    """Return the metadata of a SetupIntent that saves a card for a subscription."""
    return {ACCOUNT_UID: account_uid, SUBSCRIPTION_ID: subscription_id}


# Readers


class TopUpMetadata(NamedTuple):
    """The values in a PaymentIntent's metadata; None for each that is missing or malformed."""

    account_uid: str | None
    price_id: str | None
    credits: int | None


def read_top_up_metadata(intent: StripeData) -> TopUpMetadata:
    """Return the values in the metadata of a PaymentIntent, without validating them."""
    metadata = metadata_of(intent)
    return TopUpMetadata(
        account_uid=metadata.get(ACCOUNT_UID),
        price_id=metadata.get(PRICE_ID),
        credits=parse_count(metadata.get(CREDITS)),
    )


def is_ours(intent: StripeData) -> bool:
    """Return whether a PaymentIntent is a top-up of this service, valid or not.

    Two of the three keys are enough, because another system on a shared Stripe account may use
    one of them.
    """
    return len(TOP_UP_KEYS & metadata_of(intent).keys()) > 1


def validated_top_up(intent: StripeData) -> TopUp:
    """Return the top-up that a succeeded PaymentIntent paid for.

    Args:
        intent: A PaymentIntent for which :func:`is_ours` is true.

    Raises:
        Reject: The metadata, the status or the amount is not valid.
    """
    metadata = metadata_of(intent)
    if missing := TOP_UP_KEYS - metadata.keys():
        raise Reject(f"metadata lacks {', '.join(sorted(missing))}")
    if intent.get("status") != "succeeded":
        raise Reject(f"status is {intent.get('status')}, not succeeded")
    if intent.get("amount_received") != intent.get("amount"):
        raise Reject(
            f"amount_received {intent.get('amount_received')} is not amount {intent.get('amount')}"
        )
    try:
        return TopUp.model_validate(
            {
                **read_top_up_metadata(intent)._asdict(),
                "payment_intent_id": intent.get("id"),
                "amount": intent.get("amount"),
                "currency": intent.get("currency"),
            }
        )
    except ValidationError as error:
        fields = {str(problem["loc"][0]) for problem in error.errors(include_input=False)}
        raise Reject(f"not a valid top-up: {', '.join(sorted(fields))}") from None


def account_of_customer(customer: StripeData) -> str | None:
    """Return the uid of the account for which the service created a customer.

    Returns:
        None for a customer that the service did not create, or whose account uid is malformed.
    """
    metadata = metadata_of(customer)
    if metadata.get(_MADE_BY) != _SERVICE:
        return None
    try:
        return _account_uids.validate_python(metadata.get(ACCOUNT_UID))
    except ValidationError:
        return None
