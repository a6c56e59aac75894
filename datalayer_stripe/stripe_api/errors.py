"""Translate the errors of Stripe's SDK: https://docs.stripe.com/api/errors."""

import logging
from pathlib import Path

import stripe

from ..errors import (
    CardDeclined,
    Conflict,
    IdempotencyKeyReused,
    InvalidRequest,
    RateLimited,
    RequestError,
    StripeCustomerMissing,
    StripeKeyRefused,
    StripeNoResponse,
    StripeObjectMissing,
    StripePermissionMissing,
    StripeUnavailable,
)
from ..settings import variable
from .permissions import named_permission

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
"""The usual values of the metrics' label `outcome` of a call; other kinds of error are rare."""

# When to retry a call that Stripe has refused as one too many, if Stripe does not say it.
_RETRY_AFTER_SECONDS = 2

_SDK_FOLDER = Path(stripe.__file__).parent

logger = logging.getLogger(__name__)


def translate_error(  # noqa: PLR0911 (one return for each kind of error)
    operation: str, error: Exception
) -> RequestError:
    """Return the service's error for an error of a call to Stripe.

    A refusal keeps Stripe's message, which is written for the person who pays. An error that only
    the operator can fix, such as a wrong key, is logged, and the caller is told that Stripe is
    unavailable.

    Args:
        operation: The name of the call, for the log.
        error: The error of the SDK or of the HTTP client, or a `TimeoutError`.
    """
    match error:
        case stripe.CardError():
            return CardDeclined(error.user_message)
        case stripe.RateLimitError():
            return RateLimited(retry_after=retry_after(error) or _RETRY_AFTER_SECONDS)
        case stripe.StripeError(http_status=409):  # idempotency_key_in_use; the SDK drops the code
            return Conflict("The same request is still being worked on.")
        case stripe.IdempotencyError():
            return IdempotencyKeyReused()
        case stripe.InvalidRequestError(code="resource_missing", param="customer"):
            return StripeCustomerMissing(error.user_message)
        case stripe.InvalidRequestError(code="resource_missing" | "not_found"):  # v1, v2
            return StripeObjectMissing(error.user_message)
        case stripe.InvalidRequestError():
            return InvalidRequest(error.user_message)
        case stripe.AuthenticationError() | stripe.PermissionError():
            return _key_refused(operation, error)
        case stripe.StripeError(http_status=int()):
            return StripeUnavailable()
        case _:
            return StripeNoResponse()


def _key_refused(
    operation: str, error: stripe.AuthenticationError | stripe.PermissionError
) -> StripeKeyRefused:
    """Log that Stripe refuses the key, and return the error."""
    permission = named_permission(error) if isinstance(error, stripe.PermissionError) else None
    logger.error(
        "Stripe refuses the key for %s: check %s and its permissions",
        operation,
        variable("stripe_api_key"),
        extra={"permission": permission},
    )
    if isinstance(error, stripe.PermissionError):
        return StripePermissionMissing(permission, operation)
    return StripeKeyRefused()


def error_summary(error: Exception) -> str | None:
    """Return the kind, the code and the request id of an error of the SDK.

    The error's text is left out, because it may repeat personal data from the request.
    https://docs.stripe.com/api/request_ids

    Returns:
        None if the error is not one of the SDK.
    """
    if not isinstance(error, stripe.StripeError):
        return None
    kind = " ".join(filter(None, (type(error).__name__, error.code)))
    return f"{kind}, request {error.request_id}" if error.request_id else kind


def is_sdk_file(filename: str) -> bool:
    """Return whether a source file belongs to Stripe's SDK."""
    return Path(filename).is_relative_to(_SDK_FOLDER)


def is_replayed(error: Exception) -> bool:
    """Return whether Stripe repeated the saved answer of an idempotency key.

    https://docs.stripe.com/api/idempotent_requests
    """
    headers = (error.headers if isinstance(error, stripe.StripeError) else None) or {}
    names = {name.lower(): value for name, value in headers.items()}
    return names.get("idempotent-replayed") == "true"


def retry_after(error: stripe.StripeError) -> int | None:
    """Return the seconds that an answer asks the client to wait, or None if it does not say."""
    text = (error.headers or {}).get("retry-after", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None
