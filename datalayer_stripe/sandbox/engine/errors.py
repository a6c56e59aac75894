"""Stripe's errors, as bodies and as exceptions.

https://docs.stripe.com/api/errors
https://docs.stripe.com/error-codes
"""

from typing import Any

_DOC_URL = "https://docs.stripe.com/error-codes/"


class StripeError(Exception):
    """An error answer of Stripe's API: an HTTP status and a body `{"error": {…}}`.

    `executed` says whether the operation had begun: only then does Stripe keep the answer for
    its idempotency key (https://docs.stripe.com/api/idempotent_requests).
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        executed: bool = True,
        **details: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.executed = executed
        self.error: dict[str, Any] = {"message": message, "type": type}
        if code is not None:
            self.error["code"] = code
            self.error["doc_url"] = _DOC_URL + code.replace("_", "-")
        if param is not None:
            self.error["param"] = param
        self.error.update({name: value for name, value in details.items() if value is not None})


class SandboxCardError(StripeError):
    """A card was refused: status 402, type `card_error`, with `decline_code` where there is one."""

    def __init__(self, message: str, *, code: str, **details: Any) -> None:
        super().__init__(402, message, type="card_error", code=code, **details)

    @property
    def code(self) -> str:
        """Stripe's error code, such as `card_declined`."""
        return str(self.error["code"])

    @property
    def decline_code(self) -> str | None:
        """Why the bank refused, such as `insufficient_funds`."""
        return self.error.get("decline_code")


def invalid(message: str, *, code: str | None = None, param: str | None = None) -> StripeError:
    """Return the error for a request that fails validation: nothing has been executed."""
    return StripeError(400, message, code=code, param=param, executed=False)


def missing_param(param: str) -> StripeError:
    """Return the error for a required parameter that was not sent."""
    return invalid(f"Missing required param: {param}.", code="parameter_missing", param=param)


def unknown_params(names: list[str]) -> StripeError:
    """Return the error for parameters that the route does not take."""
    plural = "s" if len(names) > 1 else ""
    message = f"Received unknown parameter{plural}: {', '.join(names)}"
    return invalid(message, code="parameter_unknown", param=names[0])


def no_such(kind: str, object_id: str, param: str = "id", *, status: int = 404) -> StripeError:
    """Return the error for an object that does not exist.

    The status is 404 where the object is the one addressed, 400 where a parameter names it.
    """
    message = f"No such {kind.replace('_', '')}: '{object_id}'"
    return StripeError(status, message, code="resource_missing", param=param)


def bad_request(message: str, *, code: str | None = None, **details: Any) -> StripeError:
    """Return a 400 for an operation that the state of its object does not allow."""
    return StripeError(400, message, code=code, **details)
