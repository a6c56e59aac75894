"""Errors of Stripe's API, as exceptions with Stripe's error body.

https://docs.stripe.com/api/errors
https://docs.stripe.com/error-codes
"""

from typing import Any

_DOC_URL = "https://docs.stripe.com/error-codes/"


class StripeError(Exception):
    """An error answer of Stripe's API.

    Attributes:
        status: the HTTP status.
        error: the hash under `error` in the body.
        executed: whether the operation was started. Only then does Stripe store the answer under
            the idempotency key (https://docs.stripe.com/api/idempotent_requests).

    Args:
        status: the HTTP status.
        message: the text for people.
        type: Stripe's error type.
        code: Stripe's error code, if there is one.
        param: the parameter that caused the error, if there is one.
        executed: whether the operation was started.
        details: further fields of the error; None values are left out.
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
    """A declined card: status 402 and type `card_error`.

    Args:
        message: the text for the customer.
        code: Stripe's error code, such as `card_declined`.
        details: further fields of the error, such as `decline_code`.
    """

    def __init__(self, message: str, *, code: str, **details: Any) -> None:
        super().__init__(402, message, type="card_error", code=code, **details)

    @property
    def code(self) -> str:
        """Stripe's error code, such as `card_declined`."""
        return str(self.error["code"])

    @property
    def decline_code(self) -> str | None:
        """The bank's reason, such as `insufficient_funds`; None if there is none."""
        return self.error.get("decline_code")


def invalid(message: str, *, code: str | None = None, param: str | None = None) -> StripeError:
    """Return the error for a request that fails validation, before it is executed.

    Args:
        message: the text for people.
        code: Stripe's error code, if there is one.
        param: the parameter that is invalid.
    """
    return StripeError(400, message, code=code, param=param, executed=False)


def missing_param(param: str) -> StripeError:
    """Return the error for a missing required parameter."""
    return invalid(f"Missing required param: {param}.", code="parameter_missing", param=param)


def unknown_params(names: list[str]) -> StripeError:
    """Return the error for parameters that the operation does not accept."""
    plural = "s" if len(names) > 1 else ""
    message = f"Received unknown parameter{plural}: {', '.join(names)}"
    return invalid(message, code="parameter_unknown", param=names[0])


def no_such(kind: str, object_id: str, param: str = "id", *, status: int = 404) -> StripeError:
    """Return the error for an object that does not exist.

    Args:
        kind: the object's type, such as `price`.
        object_id: the identifier in the request.
        param: the parameter that names the object; `id` if it is in the path.
        status: 404 if the object is in the path, 400 if a parameter names it.
    """
    message = f"No such {kind.replace('_', '')}: '{object_id}'"
    return StripeError(status, message, code="resource_missing", param=param)


def bad_request(message: str, *, code: str | None = None, **details: Any) -> StripeError:
    """Return the error for an operation that the object's state does not allow (400).

    Args:
        message: the text for people.
        code: Stripe's error code, if there is one.
        details: further fields of the error, such as `param`.
    """
    return StripeError(400, message, code=code, **details)
