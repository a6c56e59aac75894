"""Stripe's errors as ours: docs.stripe.com/api/errors/registration."""

import logging
from pathlib import Path

import stripe

from ..errors import (
    CardRefused,
    Conflict,
    InvalidRequest,
    RateLimited,
    RequestError,
    StripeCustomerMissing,
    StripeKeyReused,
    StripeNoResponse,
    StripeObjectMissing,
    StripeUnavailable,
)

CALL_OUTCOMES = (
    "ok",
    "cancelled",
    "APIConnectionError",
    "APIError",
    "AuthenticationError",
    "CardError",
    "IdempotencyError",
    "InvalidRequestError",
    "PermissionError",
    "RateLimitError",
    "TimeoutError",
)
"""How a call to Stripe ends, as its metric names it; further kinds of error are rare."""

_SDK = Path(stripe.__file__).parent

logger = logging.getLogger(__name__)


def as_ours(  # noqa: PLR0911 (one for each kind)
    operation: str, error: Exception
) -> RequestError:
    """The error of a call to Stripe, as one of ours.

    Refusals keep Stripe's own message, which is written for people. What only the operator can
    mend (a wrong key, a missing permission) is logged, and unavailable to the caller.
    """
    match error:
        case stripe.CardError():
            return CardRefused(error.user_message)
        case stripe.RateLimitError():
            return RateLimited(retry_after=_retry_after(error))
        case stripe.StripeError(http_status=409):  # the SDK drops the code, idempotency_key_in_use
            return Conflict("The same request is still being worked on.")
        case stripe.IdempotencyError():
            return StripeKeyReused()
        case stripe.InvalidRequestError(code="resource_missing", param="customer"):
            return StripeCustomerMissing(error.user_message)
        case stripe.InvalidRequestError(code="resource_missing"):
            return StripeObjectMissing(error.user_message)
        case stripe.InvalidRequestError():
            return InvalidRequest(error.user_message)
        case stripe.AuthenticationError() | stripe.PermissionError():
            logger.error(
                "Stripe refuses the key for %s: check DATALAYER_STRIPE_API_KEY and its permissions",
                operation,
            )
            return StripeUnavailable()
        case stripe.StripeError(http_status=int()):
            return StripeUnavailable()
        case _:
            return StripeNoResponse()


def summary_of(error: Exception) -> str | None:
    """Return kind, code and request id of an error of the SDK's; None for any other error.

    Not its text, which may repeat what was sent, such as an e-mail address.
    https://docs.stripe.com/api/request_ids
    """
    if not isinstance(error, stripe.StripeError):
        return None
    kind = " ".join(filter(None, (type(error).__name__, error.code)))
    return f"{kind}, request {error.request_id}" if error.request_id else kind


def is_of_the_sdk(filename: str) -> bool:
    """Whether a source file belongs to Stripe's SDK."""
    return Path(filename).is_relative_to(_SDK)


def is_replayed(error: Exception) -> bool:
    """Return whether Stripe has repeated an answer that it has saved for an idempotency key.

    https://docs.stripe.com/api/idempotent_requests
    """
    headers = (error.headers if isinstance(error, stripe.StripeError) else None) or {}
    names = {name.lower(): value for name, value in headers.items()}
    return names.get("idempotent-replayed") == "true"


def _retry_after(error: stripe.StripeError) -> int:
    text = (error.headers or {}).get("retry-after", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 2
