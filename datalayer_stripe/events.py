"""Verify and parse a delivery, and list the event types that Stripe has. No I/O.

The signature is verified before anything else, so that a request from a stranger costs one HMAC:
https://docs.stripe.com/webhooks#verify-manually
"""

import difflib
import typing
from collections.abc import Sequence
from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from stripe import SignatureVerificationError, WebhookSignature

from .errors import InvalidRequest, InvalidSignature

TOLERANCE_SECONDS = 300

# The end of the year 9999, where both `datetime` and the service's logs end.
_LAST_SECOND = 253_402_300_799

PAYMENT_SUCCEEDED = "payment_intent.succeeded"
"""The event that says that a PaymentIntent is paid."""


class EventData(BaseModel):
    model_config = ConfigDict(frozen=True)

    object: dict[str, Any]
    previous_attributes: dict[str, Any] | None = None


class Event(BaseModel):
    """A Stripe event: docs.stripe.com/api/events/object. `created` is in epoch seconds."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(min_length=1, max_length=255)
    type: str = Field(min_length=1, max_length=255)
    created: int = Field(ge=0, le=_LAST_SECOND)
    livemode: bool
    api_version: str | None = None
    account: str | None = None
    """The connected account whose event it is, where Stripe Connect is used."""
    data: EventData = Field(repr=False)

    @property
    def object(self) -> dict[str, Any]:
        """The Stripe object that the event is about, as it was when the event was made."""
        return self.data.object

    @property
    def object_id(self) -> str | None:
        """Return the id of `object`, or None if it has none."""
        object_id = self.object.get("id")
        return object_id if isinstance(object_id, str) else None

    def copied(self) -> "Event":
        """Return a copy that shares nothing mutable with this event.

        `model_copy(deep=True)` does the same four times as slowly, and this runs once for each
        run of a plugin.
        """
        return Event.model_validate(self.model_dump())


def verify(body: bytes, signature: str | None, secrets: Sequence[SecretStr], now: float) -> None:
    """Check that Stripe sent `body`, by any of `secrets`, within the tolerance of `now` (epoch s).

    Raises InvalidSignature, and never says which check failed.
    """
    if not signature or not signature.isascii():
        raise InvalidSignature
    if not any(_matches(body, signature, secret.get_secret_value()) for secret in secrets):
        raise InvalidSignature
    # Ours and not the SDK's check, which reads the system's clock and takes any future time.
    if abs(now - _timestamp(signature)) > TOLERANCE_SECONDS:
        raise InvalidSignature("The Stripe-Signature header is outside of the tolerance.")


def parse(body: bytes) -> Event:
    """The event in a verified body. Raises InvalidRequest when it holds none."""
    try:
        return Event.model_validate_json(body)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
        raise InvalidRequest(f"The body is not a Stripe event: {where or 'JSON'}.") from None


def _matches(body: bytes, signature: str, secret: str) -> bool:
    try:
        WebhookSignature.verify_header(body, signature, secret, tolerance=None)
    except (SignatureVerificationError, UnicodeDecodeError):
        return False
    return True


def _timestamp(signature: str) -> int:
    """The signed time: the header's first `t`, which is the one that the SDK signs with."""
    fields = (field.split("=") for field in signature.split(","))
    return next(int(field[1]) for field in fields if field[0] == "t")


@cache
def known_types() -> frozenset[str]:
    """All that a webhook endpoint can be sent, by the installed SDK's own list."""
    from stripe.params import WebhookEndpointCreateParams  # noqa: PLC0415 (few need it)

    # `List[Literal["*", "account.updated", …]]`. Not get_type_hints, which fails: it looks at the
    # class that this one is derived from, too, whose names only a type checker can find.
    annotation = WebhookEndpointCreateParams.__annotations__["enabled_events"]
    (literal,) = typing.get_args(annotation)
    return frozenset(typing.get_args(literal)) - {"*"}


def unknown_type_warning(event_type: str) -> str | None:
    """What is to be said of a type that Stripe does not have; None where it has it.

    The SDK may be older than the type: so it is a doubt, and a service starts all the same.
    """
    if event_type in known_types():
        return None
    near = difflib.get_close_matches(event_type, sorted(known_types()), n=1)
    hint = f"Did you mean {near[0]}?" if near else "https://docs.stripe.com/api/events/types"
    return f"Stripe has no event type {event_type}. {hint}"
