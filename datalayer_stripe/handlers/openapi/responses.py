"""Describe error responses: their codes, by status, and their headers."""

from collections.abc import Iterable
from itertools import groupby
from typing import Any, Literal

from pydantic import Field

from ...errors import (
    Forbidden,
    InvalidRequest,
    NotConfigured,
    Overloaded,
    RateLimited,
    RequestError,
    Starting,
    TooLarge,
    Unauthorized,
    Unavailable,
    UnsupportedMediaType,
)
from ...models import Model
from ..base import BaseHandler
from ..operation import JSON, Operation

JsonObject = dict[str, Any]

_STATUSES_WITH_RETRY_AFTER = {RateLimited.status, Unavailable.status}

HEADERS: JsonObject = {
    "X-Request-Id": {
        "description": "The id of the request, which every line of the log has.",
        "required": True,
        "schema": {"type": "string"},
        "example": "example-request-1",
    },
    "Retry-After": {
        "description": "When to try again, in seconds.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
        "example": 5,
    },
}
"""The headers of responses, as components."""


class ErrorAnswer(Model):
    """An error. `message` is for people."""

    success: Literal[False] = False
    code: str
    message: str
    request_id: str = Field(description="The same as in the header `X-Request-Id`.")


def errors_of(
    handler: type[BaseHandler], operation: Operation, *, in_jupyter: bool
) -> set[type[RequestError]]:
    """Return the errors that a method of a handler can answer with.

    Args:
        handler: The handler class.
        operation: What its method declares.
        in_jupyter: Whether the routes are served by a Jupyter Server.
    """
    # A wrong Content-Length or encoding, a body that is too long, and an unexpected error.
    errors: set[type[RequestError]] = {InvalidRequest, TooLarge, RequestError, *operation.errors}
    if operation.body is not None:
        errors.add(Overloaded)
    if "bearer" in handler.security:
        errors |= {Unauthorized, Forbidden}
        if operation.body is not None:
            errors.add(UnsupportedMediaType)
    if in_jupyter:
        errors |= {Unauthorized, Forbidden, Starting, NotConfigured, Unavailable}
    return errors


def header_references(*names: str) -> JsonObject:
    """Return references to the components of `HEADERS`."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def error_responses(
    errors: Iterable[type[RequestError]],
) -> dict[str, tuple[str, JsonObject]]:
    """Return the response of each status, with all of its codes, and its name as a component.

    Args:
        errors: The errors of an operation.
    """
    by_code = {(error.status, error.code): error for error in _most_general_last(errors)}
    responses = {}
    for status, group in groupby(sorted(by_code), key=lambda key: key[0]):
        keys = list(group)
        name = ".".join(code for _, code in keys)
        responses[str(status)] = name, _response(status, [by_code[key] for key in keys])
    return responses


def _most_general_last(errors: Iterable[type[RequestError]]) -> list[type[RequestError]]:
    """Return the errors so that of those with one code, the class that has defined it is last."""
    return sorted(errors, key=lambda error: (-len(error.__mro__), error.__name__))


def _response(status: int, errors: list[type[RequestError]]) -> JsonObject:
    names = ["X-Request-Id"]
    if status in _STATUSES_WITH_RETRY_AFTER:
        names.append("Retry-After")
    return {
        "description": "\n\n".join(f"`{error.code}`: {error.default_message}" for error in errors),
        "headers": header_references(*names),
        "content": {
            JSON: {
                "schema": {
                    "$ref": f"#/components/schemas/{ErrorAnswer.__name__}",
                    "properties": {"code": {"enum": [error.code for error in errors]}},
                },
                "examples": {error.code: {"value": _example(error)} for error in errors},
            }
        },
    }


def _example(error: type[RequestError]) -> JsonObject:
    return {
        "success": False,
        "code": error.code,
        "message": error.default_message,
        "request_id": "example-request-1",
    }
