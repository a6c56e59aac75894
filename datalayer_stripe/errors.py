"""All errors of the package, except those of the sandbox.

::

    DatalayerStripeError
    ├── RequestError                      HTTP error response: status, code, message
    │   ├── InvalidRequest                400 invalid_request
    │   │   ├── StripeObjectMissing       Stripe does not have the object
    │   │   │   └── StripeCustomerMissing Stripe does not have the customer of the request
    │   │   └── OtherMode                 the event is of the other mode, test or live
    │   ├── InvalidSignature              400 invalid_signature
    │   ├── Unauthorized                  401 unauthorized
    │   ├── CardDeclined                  402 card_error
    │   ├── Forbidden                     403 forbidden
    │   ├── SubscriptionRequired          403 subscription_required
    │   ├── NotFound                      404 not_found
    │   │   └── PriceNotFound             404 price_not_found
    │   ├── Conflict                      409 conflict
    │   │   └── IdempotencyKeyReused      the key was used with other parameters
    │   ├── TooLarge                      413 too_large
    │   ├── UnsupportedMediaType          415 unsupported_media_type
    │   ├── RateLimited                   429 rate_limited, with Retry-After
    │   └── Unavailable                   503 unavailable, with Retry-After
    │       ├── StripeUnavailable         503 stripe_unavailable
    │       │   ├── StripeNoResponse      no response: Stripe may have run the request or not
    │       │   └── StripeKeyRefused      Stripe refuses the secret key
    │       │       └── StripePermissionMissing  the restricted key lacks a permission
    │       ├── StoreUnavailable          503 store_unavailable
    │       ├── Starting                  503 starting
    │       ├── NotConfigured             503 not_configured
    │       ├── DeliveryFailed            503 delivery_failed: Stripe retries the delivery
    │       └── Overloaded                503 overloaded: too many deliveries in flight
    ├── PluginSignal                      raised by a plugin to choose the outcome
    │   ├── Retry                         run the plugin on this event again later
    │   ├── Defer                         run it later as a job, and answer the delivery with 200
    │   └── Reject                        this event can never succeed
    ├── PluginFault                       a plugin broke a rule, such as its time limit
    ├── AlreadyDone                       another process has finished this plugin's work
    ├── CommitRefused                     the database refused the writes of a unit of work
    │   └── ExpectationFailed             data that the plugin read has changed
    ├── LeaseLost                         another process holds the lease
    ├── AcceptanceRefused                 an operator cannot credit this payment
    ├── CannotCheck                       a check of the set-up has no result
    ├── SetupError                        a Stripe account cannot be set up as asked
    ├── StartError                        the service cannot start
    │   ├── SettingsError                 settings are missing or not valid
    │   ├── PluginError                   a plugin is malformed, or cannot be loaded or started
    │   ├── StoreError                    the database cannot be used
    │   └── FileChanged                   another program has changed the environment file
    ├── KitError                          wrong use of the test kit
    ├── NotAccepted                       test kit: an event or a job failed in all attempts
    └── DemoError                         a step of the demo failed
        ├── NoResponse                    the service or the local Stripe did not respond
        └── UnexpectedResult              a result differs from the expected one
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

_MAX_REASON_CHARS = 1000


class DatalayerStripeError(Exception):
    """Base of all errors that this package raises intentionally."""


class RequestError(DatalayerStripeError):
    """Error that becomes an HTTP response.

    Args:
        message: A message for people, without internal details. The default is that of the class.
        retry_after: The value of the header `Retry-After`, in seconds. None sends no header.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    default_message: ClassVar[str] = "Something went wrong on our side."

    is_replayed: bool = False
    """Whether Stripe repeated the response that it had stored for an idempotency key."""

    def __init__(self, message: str | None = None, *, retry_after: int | None = None) -> None:
        self.message = message or self.default_message
        self.retry_after = retry_after
        super().__init__(self.message)


class InvalidRequest(RequestError):
    """A field or a parameter of the request is not valid."""

    status = 400
    code = "invalid_request"
    default_message = "The request is not valid."


class StripeObjectMissing(InvalidRequest):
    """Stripe does not have the requested object.

    https://docs.stripe.com/error-codes#resource-missing
    """


class StripeCustomerMissing(StripeObjectMissing):
    """Stripe does not have the customer: it was deleted, or belongs to another Stripe account."""


class OtherMode(InvalidRequest):
    """An event of test mode for a service with live keys, or the reverse."""


class InvalidSignature(RequestError):
    """The signature of a delivery is missing, wrong or too old."""

    status = 400
    code = "invalid_signature"
    default_message = "The Stripe-Signature header does not match the body."


class Unauthorized(RequestError):
    """The bearer token is missing or not valid."""

    status = 401
    code = "unauthorized"
    # The message is the same for all tokens: an attacker must not learn which check failed.
    default_message = "Sign in and send a valid token: Authorization: Bearer <token>."


class CardDeclined(RequestError):
    """The card was declined."""

    status = 402
    code = "card_error"
    default_message = "The card was declined."


class SubscriptionRequired(RequestError):
    """The account has no active subscription."""

    status = 403
    code = "subscription_required"
    default_message = "Credits can be bought with an active monthly subscription."


class Forbidden(RequestError):
    """The requested object belongs to another account."""

    status = 403
    code = "forbidden"
    default_message = "This belongs to another account."


class NotFound(RequestError):
    """The route or the requested object does not exist."""

    status = 404
    code = "not_found"
    default_message = "There is nothing at this address."


class PriceNotFound(NotFound):
    """The price does not exist or is not for sale."""

    code = "price_not_found"
    default_message = "This price is not for sale."


class Conflict(RequestError):
    """The request conflicts with the current state."""

    status = 409
    code = "conflict"
    default_message = "This is not possible in the current state."


class IdempotencyKeyReused(Conflict):
    """Stripe received the idempotency key before, with other parameters."""

    default_message = "This Idempotency-Key was used for another request."


class TooLarge(RequestError):
    """The request body is too large."""

    status = 413
    code = "too_large"
    default_message = "The request body is too large."


class UnsupportedMediaType(RequestError):
    """The request body is not JSON."""

    status = 415
    code = "unsupported_media_type"
    default_message = "Send JSON, with Content-Type: application/json."


class RateLimited(RequestError):
    """The account, or the service at Stripe, sends too many requests."""

    status = 429
    code = "rate_limited"
    default_message = "Too many requests at the moment. Please try again shortly."


class Unavailable(RequestError):
    """Something that the service needs does not respond.

    Args:
        message: A message for people, without internal details. The default is that of the class.
        retry_after: When the client should retry, in seconds.
    """

    status = 503
    code = "unavailable"
    default_message = "The service is not available at the moment. Please try again shortly."

    def __init__(self, message: str | None = None, *, retry_after: int = 5) -> None:
        super().__init__(message, retry_after=retry_after)


class StripeUnavailable(Unavailable):
    """Stripe's API does not respond, or responds with a server error."""

    code = "stripe_unavailable"
    default_message = "The payment provider does not answer. Please try again shortly."


class StripeNoResponse(StripeUnavailable):
    """No complete response was received. Stripe may have run the request or not."""


class StripeKeyRefused(StripeUnavailable):
    """Stripe refuses the secret key. Only an operator can correct it."""


class StripePermissionMissing(StripeKeyRefused):
    """The restricted key lacks a permission: https://docs.stripe.com/keys/restricted-api-keys.

    Args:
        permission: Stripe's name of the permission, such as `webhook_write`; None if Stripe's
            answer does not name it.
        operation: The name of the call, such as `webhook_endpoints.create`.
    """

    def __init__(self, permission: str | None, operation: str) -> None:
        super().__init__()
        self.permission = permission
        self.operation = operation


class StoreUnavailable(Unavailable):
    """The database does not respond."""

    code = "store_unavailable"
    default_message = "The database does not answer. Please try again shortly."


class Starting(Unavailable):
    """The Jupyter Server already runs, but the service is still starting."""

    code = "starting"
    default_message = "The service is starting. Please try again shortly."


class NotConfigured(Unavailable):
    """A setting is missing or wrong. An operator has to correct it."""

    code = "not_configured"
    default_message = "Credits are not set up on this server. The server's log says why."


class DeliveryFailed(Unavailable):
    """A plugin failed. Stripe retries the delivery because of this response."""

    code = "delivery_failed"
    default_message = "The event was received, but not all of its plugins finished."


class Overloaded(Unavailable):
    """Too many deliveries are in flight."""

    code = "overloaded"
    default_message = "There are too many deliveries at the moment."


class PluginSignal(DatalayerStripeError):
    """Raised by a plugin to choose the outcome of its run.

    Args:
        reason: The reason, which is stored for the operator.
    """

    def __init__(self, reason: str) -> None:
        # Make every reason storable: a run whose reason cannot be stored would be retried forever.
        self.reason = str(reason)[:_MAX_REASON_CHARS].encode(errors="replace").decode()
        super().__init__(self.reason)


class Retry(PluginSignal):
    """Run the plugin on this event again later.

    The writes of this run are discarded, and the delivery is answered with 503, so that Stripe
    delivers the event again.
    """


class Defer(PluginSignal):
    """Run the plugin on this event later, as a deferred job.

    The writes of this run are discarded. The job is committed, and the delivery is answered with
    200. A job that raises it is run again later, and no failed attempt is recorded.

    Args:
        reason: The reason, for the log.
        delay: Seconds until the job is due, at most MAX_DELAY_SECONDS.

    Raises:
        ValueError: The delay is negative or too long.
    """

    MAX_DELAY_SECONDS: ClassVar[float] = 30 * 24 * 3600

    def __init__(self, reason: str, *, delay: float = 0) -> None:
        super().__init__(reason)
        if not 0 <= delay <= self.MAX_DELAY_SECONDS:
            raise ValueError(f"a delay is from 0 to {self.MAX_DELAY_SECONDS} s, not {delay}")
        self.delay = delay


class Reject(PluginSignal):
    """Do not run the plugin on this event again, because it can never succeed.

    The event is stored as rejected, with the reason, and the delivery is answered with 200.
    """


class PluginFault(DatalayerStripeError):
    """A plugin broke a rule. The message says what it did."""


class AlreadyDone(DatalayerStripeError):
    """Another process has committed the work of this plugin on this event, or holds the job."""


class CommitRefused(DatalayerStripeError):
    """The database refused a write of a unit of work. None of the unit's writes was stored."""


class ExpectationFailed(CommitRefused):
    """Data that a write depends on has changed. None of the unit's writes was stored."""


class LeaseLost(DatalayerStripeError):
    """The lease has expired, and another process holds it."""


class AcceptanceRefused(DatalayerStripeError):
    """An operator cannot credit the payment. The message says why."""


class SetupError(DatalayerStripeError):
    """A Stripe account cannot be set up as asked. The message says what to do."""


class CannotCheck(DatalayerStripeError):
    """A check cannot find out whether there is a problem. The message says why."""


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
    """The database cannot be used: it is not a replica set, or has data of the other mode."""


class FileChanged(StartError):
    """Another program has changed the environment file since it was read."""


class KitError(DatalayerStripeError):
    """The test kit is used in a wrong way. The message says what to do."""


class NotAccepted(DatalayerStripeError):
    """The test kit delivered an event or ran a job, and it failed in all attempts.

    Args:
        what: What failed, with the last error.
        cause: The error that the plugin raised, if it is not one of ours.
    """

    def __init__(self, what: str, cause: BaseException | None = None) -> None:
        super().__init__(what)
        self.cause = cause


class DemoError(DatalayerStripeError):
    """A step of the demo failed."""


class NoResponse(DemoError):
    """The service or the local Stripe did not respond. The message says why."""


class UnexpectedResult(DemoError):
    """A result of the demo differs from the expected one.

    Args:
        expected: The expected result.
        actual: The result.
    """

    def __init__(self, expected: str, actual: str) -> None:
        super().__init__(f"expected {expected}, got {actual}")
        self.expected = expected
        self.actual = actual
