"""Verify and parse deliveries, and list Stripe's event types. No I/O.

The signature is verified before anything else, so that a stranger's request costs one HMAC for each
secret: https://docs.stripe.com/webhooks#verify-manually
"""

import difflib
import re
import typing
from collections.abc import Sequence
from functools import cache, cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from stripe import SignatureVerificationError, WebhookSignature

from .clock import MAX_EPOCH_SECONDS
from .errors import InvalidRequest, InvalidSignature
from .stripe_api.objects import account_uid_of, id_of, payment_intent_id_of

TOLERANCE_SECONDS = 300
"""How far the signed time may be from ours."""

# Stripe signs with each secret of the endpoint, which are two while one is rolled. Every signature
# in the header is compared.
_MAX_SIGNATURE_CHARS = 1024

# The event types that the service itself uses. A plugin names the types that it runs on.
PAYMENT_SUCCEEDED = "payment_intent.succeeded"
CUSTOMER_DELETED = "customer.deleted"
SUBSCRIPTION_UPDATED = "customer.subscription.updated"
REFUND_UPDATED = "refund.updated"
DISPUTE_UPDATED = "charge.dispute.updated"
REVERSAL_EVENT_TYPES = (
    "refund.created",
    REFUND_UPDATED,
    "refund.failed",
    "charge.dispute.created",
    DISPUTE_UPDATED,
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "charge.dispute.closed",
)
"""Stripe sends an event of one of these types for each change of a refund or a dispute."""

THIN_PREFIX = "v1."
"""What the type of a thin event has before the type of its snapshot event."""


class EventData(BaseModel):
    """The `data` field of an event."""

    model_config = ConfigDict(frozen=True)

    object: dict[str, Any]
    previous_attributes: dict[str, Any] | None = None


class Event(BaseModel):
    """A Stripe event; `created` is in epoch seconds.

    https://docs.stripe.com/api/events/object
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(min_length=1, max_length=255)
    type: str = Field(min_length=1, max_length=255)
    created: int = Field(ge=0, le=MAX_EPOCH_SECONDS)
    livemode: bool
    api_version: str | None = None
    account: str | None = None
    """The connected account that the event is from, if Stripe Connect is used."""
    data: EventData = Field(repr=False)

    @property
    def object(self) -> dict[str, Any]:
        """The Stripe object that the event is about, as it was when the event was created."""
        return self.data.object

    @property
    def object_id(self) -> str | None:
        """The id of the object, or None if it has none."""
        object_id = self.object.get("id")
        return object_id if isinstance(object_id, str) else None

    @cached_property
    def account_uid(self) -> str | None:
        """The uid of the account that the object's metadata names, or None."""
        return account_uid_of(self.object)

    @cached_property
    def payment_intent_id(self) -> str | None:
        """The id of the PaymentIntent that a charge, a refund or a dispute is for, or None."""
        return payment_intent_id_of(self.object)

    @property
    def customer_id(self) -> str | None:
        """The id of the object's customer, or None."""
        return id_of(self.object.get("customer"))

    def copied(self) -> "Event":
        """Return a copy that shares nothing mutable with this event.

        `model_copy(deep=True)` does the same four times as slowly, and this runs once for each
        run of a plugin.
        """
        return Event.model_validate(self.model_dump())


def verify(body: bytes, signature: str | None, secrets: Sequence[SecretStr], now: float) -> None:
    """Check that Stripe has signed the body within the tolerance of the present time.

    Args:
        body: The raw body of the request.
        signature: The `Stripe-Signature` header.
        secrets: The endpoint's signing secrets; any of them may have signed.
        now: The present time, in epoch seconds.

    Raises:
        InvalidSignature: A check failed. The message does not say whether a secret matched.
    """
    if not signature or not signature.isascii() or len(signature) > _MAX_SIGNATURE_CHARS:
        raise InvalidSignature
    # First, because it costs nothing. The SDK's own check reads the system's clock, and accepts any
    # time in the future.
    if not now - TOLERANCE_SECONDS <= _timestamp(signature) <= now + TOLERANCE_SECONDS:
        raise InvalidSignature("The Stripe-Signature header is outside of the tolerance.")
    if not any(_matches(body, signature, secret.get_secret_value()) for secret in secrets):
        raise InvalidSignature


def parse(body: bytes) -> Event:
    """Return the event in a verified body.

    Raises:
        InvalidRequest: The body is not a Stripe event. The message names the field that is wrong.
    """
    try:
        return Event.model_validate_json(body)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
        raise InvalidRequest(f"The body is not a Stripe event: {where or 'JSON'}.") from None


@cache
def known_types() -> frozenset[str]:
    """Return the event types that a webhook endpoint can be sent, as the installed SDK lists them.

    Types: https://docs.stripe.com/api/events/types
    """
    from stripe.params import WebhookEndpointCreateParams  # noqa: PLC0415 (few callers need it)

    # `List[Literal["*", "account.updated", …]]`. Not get_type_hints, which fails: it also resolves
    # the annotations of the base class, whose names only a type checker can find.
    annotation = WebhookEndpointCreateParams.__annotations__["enabled_events"]
    (literal,) = typing.get_args(annotation)
    return frozenset(typing.get_args(literal)) - {"*"}


def has_thin_event(event_type: str) -> bool:
    """Return whether Stripe sends thin events of this type, too, as the installed SDK lists them.

    Args:
        event_type: The type of the snapshot event, without a prefix.
    """
    import stripe.events  # noqa: PLC0415 (few callers need it)

    words = re.split(r"[._]", THIN_PREFIX + event_type)
    name = "".join(word.capitalize() for word in words)
    return hasattr(stripe.events, f"{name}EventNotification")


def unknown_type_warning(event_type: str) -> str | None:
    """Return a warning if Stripe's SDK does not list the event type, else None.

    Stripe adds event types before its SDK lists them, so this is not an error.
    """
    if event_type in known_types():
        return None
    near = difflib.get_close_matches(event_type, sorted(known_types()), n=1)
    hint = f"Did you mean {near[0]}?" if near else "https://docs.stripe.com/api/events/types"
    return f"Stripe has no event type {event_type}. {hint}"


def _matches(body: bytes, signature: str, secret: str) -> bool:
    try:
        WebhookSignature.verify_header(body, signature, secret, tolerance=None)
    except (SignatureVerificationError, UnicodeDecodeError):
        return False
    return True


def _timestamp(signature: str) -> int:
    """Return the signed time in epoch seconds: the header's first `t`, which the SDK verifies.

    Raises:
        InvalidSignature: There is none.
    """
    fields = (field.split("=") for field in signature.split(","))
    try:
        return next(int(field[1]) for field in fields if field[0] == "t")
    except (StopIteration, IndexError, ValueError):
        raise InvalidSignature from None
