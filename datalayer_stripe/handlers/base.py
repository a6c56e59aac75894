"""Base handler: request id, JSON bodies and responses, errors, and metrics."""

import json
import logging
import os
import re
import time
from http.client import responses
from types import TracebackType
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ValidationError
from tornado.web import HTTPError, OutputTransform

from ..errors import (
    InvalidRequest,
    NotConfigured,
    RequestError,
    Starting,
    UnsupportedMediaType,
)
from ..logs import bind_log_context
from ..service import Service
from .app_state import AppState
from .bodies import BodyHandler
from .methods import implemented_methods

logger = logging.getLogger(__name__)

_VALID_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

# The error codes of the HTTP API for the errors that Tornado raises itself.
_CODES = {
    400: "invalid_request",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    416: "range_not_satisfiable",
}

# Errors that last: they were logged as warnings when they began.
_LOGGED_AT_START = (NotConfigured, Starting)

M = TypeVar("M", bound=BaseModel)


class BaseHandler(BodyHandler):
    """Base of all handlers that answer with JSON."""

    max_body_bytes: ClassVar[int] = 64 * 1024

    security: ClassVar[tuple[str, ...]] = ()
    """The schemes of :mod:`.openapi`, one of which authenticates the caller; none if public."""

    base_query: ClassVar[type[BaseModel] | None] = None
    """The model of the query fields that all routes of a base class accept."""

    def initialize(self) -> None:
        self.request_id = _request_id(self.request.headers.get("X-Request-Id"))
        self._started_at = time.perf_counter()
        self.set_header("X-Request-Id", self.request_id)

    async def _execute(
        self, transforms: list[OutputTransform], *args: bytes, **kwargs: bytes
    ) -> None:
        # Tornado calls no other method that encloses the whole request, including one whose
        # client disconnects early.
        request_tracker = self.app_state.request_tracker
        bind_log_context(request_id=self.request_id)  # each request has a task of its own
        request_tracker.begin()
        try:
            await super()._execute(transforms, *args, **kwargs)
        finally:
            request_tracker.end()

    def close_if_incomplete(self) -> None:
        bind_log_context(request_id=self.request_id)
        if not self.request._body_future.done():
            self.app_state.refusals.count_timeout()
        super().close_if_incomplete()

    @property
    def app_state(self) -> AppState:
        """The state that all handlers of the application share."""
        state: AppState = self.settings["datalayer_stripe"]
        return state

    @property
    def service(self) -> Service:
        """The service.

        Raises:
            Unavailable: There is none, such as in a Jupyter Server that has just started.
        """
        return self.app_state.service

    # Request

    def json_body(self, model: type[M]) -> M:
        """Parse the request body.

        Args:
            model: The pydantic model of the body.

        Returns:
            The validated body.

        Raises:
            UnsupportedMediaType: The Content-Type is not `application/json`.
            InvalidRequest: The body is not valid JSON, or does not match the model.
            TooLarge: The body is longer than the route accepts.
            Overloaded: There was no memory left for the body.
        """
        body = self.body
        media_type = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise UnsupportedMediaType
        try:
            return model.model_validate_json(body)
        except ValidationError as error:
            raise _invalid_request(error, "the body is not a JSON object") from None

    def query(self, model: type[M]) -> M:
        """Parse the query. The last value of a repeated argument counts.

        Args:
            model: The pydantic model of the query.

        Returns:
            The validated query.

        Raises:
            InvalidRequest: The query does not match the model.
        """
        arguments = {name: self.get_query_argument(name) for name in self.request.query_arguments}
        try:
            return model.model_validate(arguments)
        except ValidationError as error:
            raise _invalid_request(error, "the query is not valid") from None

    # Response

    def respond(self, answer: BaseModel, status_code: int = 200) -> None:
        """Finish the request with a JSON response.

        Args:
            answer: The response, of the model that the method's `Operation` declares.
            status_code: The HTTP status.
        """
        self.set_status(status_code)
        self._finish_json(answer.model_dump(mode="json"))

    def _finish_json(self, fields: dict[str, Any]) -> None:
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.finish(_encode(fields))

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")
        if self.app_state.request_tracker.draining:
            self.set_header("Connection", "close")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write every error as JSON. No other method turns an error into a response.

        Args:
            status_code: The HTTP status.
            **kwargs: `exc_info`, if an exception caused the error.
        """
        error = kwargs.get("exc_info", (None, None))[1]
        if isinstance(error, RequestError):
            code = error.code
        else:
            error = _tornado_error(status_code)
            code = _CODES.get(status_code, error.code)
        # send_error() has cleared the headers.
        self.set_header("X-Request-Id", self.request_id)
        if error.retry_after is not None:
            self.set_header("Retry-After", str(error.retry_after))
        if status_code == 405:
            self.set_header("Allow", ", ".join(implemented_methods(type(self))))
        self._finish_json(
            {
                "success": False,
                "code": code,
                "message": error.message,
                "request_id": self.request_id,
            }
        )

    def log_exception(
        self,
        typ: type[BaseException] | None,  # noqa: ARG002 (Tornado's signature)
        value: BaseException | None,
        tb: TracebackType | None,  # noqa: ARG002
    ) -> None:
        if isinstance(value, RequestError):
            self.log_refusal(value)
        elif isinstance(value, HTTPError):
            logger.info("refused", extra={"status": value.status_code})
        else:
            logger.error("unexpected error", exc_info=value)

    def log_refusal(self, error: RequestError) -> None:
        """Log the line of an error that becomes an answer."""
        logger.log(
            refusal_level(error),
            error.message,
            extra={"code": error.code, "cause": cause_name(error)},
        )

    def _handle_request_exception(self, e: BaseException) -> None:
        # Tornado and its instrumentation for traces know only the status of Tornado's HTTPError.
        # The latter takes all other errors that are passed to `log_exception` for 500.
        if isinstance(e, RequestError) and not self._finished:
            self.app_state.refusals.count(e)
            self.log_refusal(e)
            self.send_error(e.status, exc_info=(type(e), e, e.__traceback__))
        else:
            super()._handle_request_exception(e)

    def on_finish(self) -> None:
        elapsed = time.perf_counter() - self._started_at
        # Arbitrary methods of clients must not create new time series.
        method = self.request.method if self.request.method in self.SUPPORTED_METHODS else "other"
        requests, seconds = self.app_state.series_of(type(self), str(method), self.get_status())
        requests.inc()
        seconds.observe(elapsed)


def cause_name(error: RequestError) -> str | None:
    """Return the class of what caused an error, or None."""
    return type(error.__cause__).__name__ if error.__cause__ else None


def refusal_level(error: RequestError) -> int:
    """Return the level of the line that logs an error response."""
    is_warning = error.status >= 500 and not isinstance(error, _LOGGED_AT_START)
    return logging.WARNING if is_warning else logging.INFO


def _invalid_request(error: ValidationError, fallback: str) -> InvalidRequest:
    """Return an error that names the first field that is not valid.

    Args:
        error: The error of pydantic.
        fallback: The problem to name if the error belongs to no field.
    """
    detail = error.errors(include_input=False, include_url=False)[0]
    field = ".".join(str(part) for part in detail["loc"])
    problem = f"`{field}`: {detail['msg']}" if field else fallback
    return InvalidRequest(f"Invalid request: {problem}.")


def _request_id(header: str | None) -> str:
    """Return the request id of the client if it is valid, else a new one."""
    if header and _VALID_REQUEST_ID.fullmatch(header):
        return header
    return os.urandom(16).hex()


def _tornado_error(status: int) -> RequestError:
    """Return a RequestError for an error of Tornado or an unexpected one, without its text."""
    if status < 500:
        return RequestError(f"{responses.get(status, 'The request was refused')}.")
    return RequestError()


# An encoder is created once: `json.dumps` with these arguments creates one at each call.
_encode = json.JSONEncoder(separators=(",", ":")).encode
