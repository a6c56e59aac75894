"""What can go wrong, as one tree.

::

    DatalayerStripeError
    ├── RequestError                 becomes an HTTP answer: status, code, message
    │   ├── InvalidRequest           400 invalid_request
    │   │   └── StripeObjectMissing  Stripe knows no object of that id
    │   │       └── StripeCustomerMissing  … and it is the customer of the request
    │   ├── InvalidSignature         400 invalid_signature
    │   ├── Unauthorized             401 unauthorized
    │   ├── CardRefused              402 card_error
    │   ├── Forbidden                403 forbidden
    │   ├── SubscriptionRequired     403 subscription_required
    │   ├── NotFound                 404 not_found
    │   │   └── PriceNotFound        404 price_not_found
    │   ├── Conflict                 409 conflict
    │   │   └── StripeKeyReused      the idempotency key was used with other parameters
    │   ├── TooLarge                 413 too_large
    │   ├── UnsupportedMediaType     415 unsupported_media_type
    │   ├── RateLimited              429 rate_limited, with Retry-After
    │   └── Unavailable              503, with Retry-After
    │       ├── StripeUnavailable    stripe_unavailable
    │       │   └── StripeNoResponse     no answer came: it may have been done, or not
    │       ├── StoreUnavailable     store_unavailable
    │       ├── Starting             starting: the server has begun before us
    │       ├── NotConfigured        not_configured: an operator has something to do
    │       ├── DeliveryFailed       delivery_failed: some plugin is to run again
    │       └── Overloaded           overloaded: more than is worked on at once
    ├── PluginSignal                 raised by a plugin, on purpose
    │   ├── Retry                    try this event again later
    │   └── Reject                   this event can never succeed
    ├── PluginFault                  a plugin did what none may do: it gave back, ended, hung
    ├── CommitRefused                the database refused a unit of work
    │   └── ExpectationFailed        what the plugin had read has changed: run it again
    ├── KitError                     a test asks of the test kit what it cannot do
    └── StartError                   the service cannot start
        ├── SettingsError            settings are missing or not valid
        ├── PluginError              a plugin is malformed, or cannot be loaded or started
        └── StoreError               the database cannot be used
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

_MAX_REASON_CHARS = 1000


class DatalayerStripeError(Exception):
    """The root of every error that this package raises on purpose."""


class RequestError(DatalayerStripeError):
    """An error with an HTTP answer. `message` is for people and leaks nothing internal."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    default_message: ClassVar[str] = "Something went wrong on our side."

    is_replayed: bool = False
    """Whether Stripe has repeated an answer that it has saved for an idempotency key."""

    def __init__(self, message: str | None = None, *, retry_after: int | None = None) -> None:
        self.message = message or self.default_message
        self.retry_after = retry_after
        super().__init__(self.message)


class InvalidRequest(RequestError):
    status = 400
    code = "invalid_request"
    default_message = "The request is not valid."


class StripeObjectMissing(InvalidRequest):
    """Stripe answered `resource_missing`: docs.stripe.com/error-codes#resource-missing."""


class StripeCustomerMissing(StripeObjectMissing):
    """The missing object is the request's customer: it was deleted, or is of another account."""


class InvalidSignature(RequestError):
    status = 400
    code = "invalid_signature"
    default_message = "The Stripe-Signature header does not match the body."


class Unauthorized(RequestError):
    status = 401
    code = "unauthorized"
    # One and the same for every refused token: which check failed is nobody's business.
    default_message = "Sign in and send a valid token: Authorization: Bearer <token>."


class CardRefused(RequestError):
    status = 402
    code = "card_error"
    default_message = "The card was refused."


class SubscriptionRequired(RequestError):
    status = 403
    code = "subscription_required"
    default_message = "Credits can be bought with an active monthly subscription."


class Forbidden(RequestError):
    status = 403
    code = "forbidden"
    default_message = "This is another account's."


class NotFound(RequestError):
    status = 404
    code = "not_found"
    default_message = "There is nothing at this address."


class PriceNotFound(NotFound):
    code = "price_not_found"
    default_message = "This price is not for sale."


class Conflict(RequestError):
    status = 409
    code = "conflict"
    default_message = "This is not possible in the present state."


class StripeKeyReused(Conflict):
    """Stripe has seen the idempotency key with other parameters."""

    default_message = "This Idempotency-Key was used for another request."


class TooLarge(RequestError):
    status = 413
    code = "too_large"
    default_message = "The request body is too large."


class UnsupportedMediaType(RequestError):
    status = 415
    code = "unsupported_media_type"
    default_message = "Send JSON, with Content-Type: application/json."


class RateLimited(RequestError):
    status = 429
    code = "rate_limited"
    default_message = "Too many requests at the moment. Please try again shortly."


class Unavailable(RequestError):
    """Something that we need does not answer: try again after `retry_after` seconds."""

    status = 503
    code = "unavailable"
    default_message = "The service is not available at the moment. Please try again shortly."

    def __init__(self, message: str | None = None, *, retry_after: int = 5) -> None:
        super().__init__(message, retry_after=retry_after)


class StripeUnavailable(Unavailable):
    code = "stripe_unavailable"
    default_message = "The payment provider does not answer. Please try again shortly."


class StripeNoResponse(StripeUnavailable):
    """No answer came, or half of one: what was asked for may have been done, or not."""


class StoreUnavailable(Unavailable):
    code = "store_unavailable"
    default_message = "The database does not answer. Please try again shortly."


class Starting(Unavailable):
    code = "starting"
    default_message = "The service is about to start. Please try again shortly."


class NotConfigured(Unavailable):
    code = "not_configured"
    default_message = "Credits are not set up on this server. Its log tells its operator why."


class DeliveryFailed(Unavailable):
    code = "delivery_failed"
    default_message = "The event was received, but not all of its plugins finished."


class Overloaded(Unavailable):
    code = "overloaded"
    default_message = "There are too many deliveries at the moment."


class PluginSignal(DatalayerStripeError):
    """Raised by a plugin to say how its run ended. `reason` is kept for the operator."""

    def __init__(self, reason: str) -> None:
        # Whatever it is, it can be kept: what cannot be is tried for ever.
        self.reason = str(reason)[:_MAX_REASON_CHARS].encode(errors="replace").decode()
        super().__init__(self.reason)


class Retry(PluginSignal):
    """Not now: nothing of this run is kept, the delivery is answered 5xx, Stripe tries again."""


class Reject(PluginSignal):
    """Never: the event is recorded as rejected with the reason, and answered 200."""


class PluginFault(DatalayerStripeError):
    """A plugin's run ended as none may. The message is ours, and says what the plugin did."""


class CommitRefused(DatalayerStripeError):
    """The database refused a write of a unit of work. Nothing of the unit was kept."""


class ExpectationFailed(CommitRefused):
    """A write did not find what it expected. Nothing of the unit was kept."""


class KitError(DatalayerStripeError):
    """The test kit cannot do what a test asks of it. The message says what to do."""


class StartError(DatalayerStripeError):
    """The service cannot start. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One problem of a setting: its variable, the problem, and where to find the right value."""

    variable: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        """Return the line that the operator reads."""
        return f"{self.variable}: {self.problem}. {self.remedy}"


class SettingsError(StartError):
    """Settings are missing or not valid: `faults` has all problems, `str()` a line for each.

    Args:
        faults: The problems, in the order of the settings.
    """

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = list(faults)
        super().__init__("\n".join(map(str, self.faults)))


class PluginError(StartError):
    """A plugin is malformed, registered twice or too late, or cannot be loaded or started."""


class StoreError(StartError):
    """The database cannot be used: no replica set, or it holds the other mode's data."""
