"""Declare beside a handler's method what it takes and what it answers.

The description of the HTTP API is generated from these declarations: :mod:`.openapi`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import BaseModel
from tornado.web import RequestHandler

from ..errors import (
    CardDeclined,
    InvalidRequest,
    RateLimited,
    RequestError,
    StoreUnavailable,
    StripeUnavailable,
)
from ..models import Model
from .methods import implemented_methods

Errors = tuple[type[RequestError], ...]

STORE_ERRORS: Errors = (StoreUnavailable,)
"""Errors of a route that reads the database."""

STRIPE_ERRORS: Errors = (StripeUnavailable, RateLimited)
"""Errors of a route that reads from Stripe."""

PURCHASE_ERRORS: Errors = (*STORE_ERRORS, *STRIPE_ERRORS, CardDeclined, InvalidRequest)
"""Errors of a route that creates or changes something at Stripe."""

JSON = "application/json"

CURSOR_PATTERN = r"^[A-Za-z0-9_-]*$"
"""The characters of the cursor of a page."""

_ATTRIBUTE = "operation"

F = TypeVar("F", bound=Callable[..., Any])


class Answer(Model):
    """A successful answer."""

    success: Literal[True] = True


@dataclass(frozen=True, slots=True)
class Parameter:
    """A header, or the value of a named group in a route's pattern.

    Only what every request needs has an example: the API's page fills it in, and sends it.
    """

    name: str
    description: str
    example: str = ""
    place: Literal["header", "path"] = "header"
    required: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """What a method of a handler takes and answers; a decorator of the method.

    Attributes:
        answer: The model of a successful answer; None if it is no JSON.
        status: The status of a successful answer.
        media_type: The media type of a successful answer.
        body: The model of the request body; None if the method takes none.
        body_is_optional: Whether the body may be left out.
        query: The model of the query, beside the fields of `AccountScope`.
        parameters: The headers that the method reads, and the groups of the route's pattern.
        errors: The errors beside those that every route of the handler's base class has.
        events: The events of a stream, with the models of their data.
        failures: Answers with an error status that have another model than other errors.
    """

    answer: type[BaseModel] | None = None
    status: int = 200
    media_type: str = JSON
    body: type[BaseModel] | None = None
    body_is_optional: bool = False
    query: type[BaseModel] | None = None
    parameters: tuple[Parameter, ...] = ()
    errors: Errors = ()
    events: tuple[tuple[str, type[BaseModel]], ...] = ()
    failures: tuple[tuple[int, type[BaseModel]], ...] = ()

    def __call__(self, method: F) -> F:
        """Attach the declaration to a method, unchanged otherwise."""
        setattr(method, _ATTRIBUTE, self)
        return method


def operations_of(handler: type[RequestHandler]) -> dict[str, Operation | None]:
    """Return what a handler declares for each of its methods except OPTIONS.

    Args:
        handler: The handler class.

    Returns:
        The operation by method; None if the method has no declaration.
    """
    return {
        method: getattr(getattr(handler, method.lower()), _ATTRIBUTE, None)
        for method in implemented_methods(handler)
        if method != "OPTIONS"
    }
