"""What every route has: request id, JSON, size limit, CORS, errors, metrics and one log line."""

import json
import logging
import re
import time
import uuid
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
from ..logs import bind_log_context, log_context
from ..models import Identity
from ..service import Service
from .account_scope import AccountScope
from .bodies import BodyHandler
from .methods import implemented_methods
from .site import Site

logger = logging.getLogger(__name__)

_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

# Tornado's own refusals, in the words of our contract.
_CODES = {
    400: "invalid_request",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
}

# States that the log has told of when they began.
_SAID_BEFORE = (NotConfigured, Starting)

M = TypeVar("M", bound=BaseModel)


class BaseHandler(BodyHandler):
    """The base of all handlers that answer in JSON."""

    max_body_bytes: ClassVar[int] = 64 * 1024

    def initialize(self) -> None:
        self.request_id = _request_id(self.request.headers.get("X-Request-Id"))
        self._begun = time.perf_counter()
        self.set_header("X-Request-Id", self.request_id)

    async def _execute(
        self, transforms: list[OutputTransform], *args: bytes, **kwargs: bytes
    ) -> None:
        # Around all that a request does, also where its client hangs up half way.
        with self.site.request_tracker.track(), log_context(request_id=self.request_id):
            await super()._execute(transforms, *args, **kwargs)

    @property
    def site(self) -> Site:
        site: Site = self.settings["datalayer_stripe"]
        return site

    @property
    def service(self) -> Service:
        """Raises Unavailable while there is none, as within a server that has just started."""
        return self.site.service

    # The body

    def json_body(self, model: type[M]) -> M:
        """The body as `model`. Raises UnsupportedMediaType, InvalidRequest, or as :attr:`body`."""
        body = self.body
        media_type = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            raise UnsupportedMediaType
        try:
            return model.model_validate_json(body)
        except ValidationError as error:
            raise _invalid(error, "the body is not a JSON object") from None

    def query(self, model: type[M]) -> M:
        """The query's arguments, each the last of its name, as `model`. Raises InvalidRequest."""
        arguments = {name: self.get_query_argument(name) for name in self.request.query_arguments}
        try:
            return model.model_validate(arguments)
        except ValidationError as error:
            raise _invalid(error, "the query is wrong") from None

    # The answer

    def answer(self, status_code: int = 200, /, **fields: Any) -> None:
        """Finish with `success` and these fields, pydantic models among them, as JSON."""
        self.set_status(status_code)
        self._finish_json({"success": True, **fields})

    def _finish_json(self, fields: dict[str, Any]) -> None:
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.finish(json.dumps(fields, default=_as_json, separators=(",", ":")))

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Content-Type", "application/json; charset=UTF-8")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")
        if self.site.request_tracker.draining:
            self.set_header("Connection", "close")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Every error leaves here, in the one shape of the contract."""
        error = kwargs.get("exc_info", (None, None))[1]
        if isinstance(error, RequestError):
            code = error.code
        else:
            error = _tornados(status_code)
            code = _CODES.get(status_code, error.code)
        # send_error() has cleared the headers.
        self.set_header("X-Request-Id", self.request_id)
        if error.retry_after is not None:
            self.set_header("Retry-After", str(error.retry_after))
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
            is_news = value.status >= 500 and not isinstance(value, _SAID_BEFORE)
            level = logging.WARNING if is_news else logging.INFO
            cause = type(value.__cause__).__name__ if value.__cause__ else None
            logger.log(level, value.message, extra={"code": value.code, "cause": cause})
        elif isinstance(value, HTTPError):
            logger.info("refused", extra={"status": value.status_code})
        else:
            logger.error("unexpected error", exc_info=value)

    def _handle_request_exception(self, e: BaseException) -> None:
        # Tornado knows the status of its own HTTPError only.
        if isinstance(e, RequestError) and not self._finished:
            self.log_exception(type(e), e, e.__traceback__)
            self.send_error(e.status, exc_info=(type(e), e, e.__traceback__))
        else:
            super()._handle_request_exception(e)

    def on_finish(self) -> None:
        metrics, elapsed = self.site.metrics, time.perf_counter() - self._begun
        # Neither addresses nor methods that a stranger makes up become time series.
        route = self.site.routes.get(type(self), "unmatched")
        method = self.request.method if self.request.method in self.SUPPORTED_METHODS else "other"
        metrics.requests.labels(method, route, self.get_status()).inc()
        metrics.request_seconds.labels(method, route).observe(elapsed)


class ApiHandler(BaseHandler):
    """The base of the routes that clients call: CORS and an identity."""

    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.allow_origins()

    def allow_origins(self) -> None:
        """Set the headers that say which origins may read the answer: DATALAYER_CORS_ORIGIN.

        Only an origin that is named may send credentials with a request, as Datalayer's UI does.
        The service reads no cookies. But a proxy before it may sign people in by cookies, and `*`
        must not let every website use them.
        """
        origin = self.request.headers.get("Origin")
        allowed = self.service.settings.cors_origins
        if allowed == ("*",):
            self.set_header("Access-Control-Allow-Origin", "*")
        else:
            self.set_header("Vary", "Origin")
            if not origin or origin.lower() not in allowed:
                return
            self.set_header("Access-Control-Allow-Origin", origin)
            self.set_header("Access-Control-Allow-Credentials", "true")
        self.set_header("Access-Control-Expose-Headers", "X-Request-Id, Retry-After")

    async def options(self, *_args: str, **_kwargs: str) -> None:
        """Answer a preflight: developer.mozilla.org/docs/Glossary/Preflight_request."""
        self.set_status(204)
        self.clear_header("Content-Type")
        methods = implemented_methods(type(self))
        self.set_header("Access-Control-Allow-Methods", ", ".join(methods))
        self.set_header(
            "Access-Control-Allow-Headers",
            "Authorization, Cache-Control, Content-Type, Idempotency-Key, Last-Event-ID, Pragma, "
            "X-External-Token, X-Request-Id",
        )
        self.set_header("Access-Control-Max-Age", "600")


class AuthenticatedHandler(ApiHandler):
    """The base of the routes that act for the caller's account, and for no other."""

    identity: Identity

    def prepare(self) -> None:
        super().prepare()
        if self.request.method != "OPTIONS":
            self.identity = self.identify()
            bind_log_context(account_uid=self.identity.account_uid)
            names = self.request.query_arguments
            asked = {name: self.get_query_arguments(name) for name in names}
            for scope in AccountScope.of_query(asked):
                scope.check(self.identity.account_uid)

    def json_body(self, model: type[M]) -> M:
        """Return the body as `model`.

        Raises:
            Forbidden: if the body names another account than the caller's.
            UnsupportedMediaType, TooLarge, InvalidRequest: as for any body.
        """
        super().json_body(AccountScope).check(self.identity.account_uid)
        return super().json_body(model)

    def check_optional_body(self) -> None:
        """Refuse a body that names another account, on a route that needs no body.

        Raises the same errors as `json_body`, unless the body is empty.
        """
        if self.body:
            self.json_body(AccountScope)

    def identify(self) -> Identity:
        """Who calls. Raises Unauthorized."""
        return self.service.bearer_tokens.identity(self.request.headers.get("Authorization"))


class NotFoundHandler(ApiHandler):
    """Every path that is not a route. A preflight is answered, so that a page can read the 404."""

    def prepare(self) -> None:
        if self.request.method != "OPTIONS":
            raise HTTPError(404)
        super().prepare()


def _invalid(error: ValidationError, otherwise: str) -> InvalidRequest:
    """The first fault, by its field."""
    fault = error.errors(include_input=False, include_url=False)[0]
    field = ".".join(str(part) for part in fault["loc"])
    what = f"`{field}`: {fault['msg']}" if field else otherwise
    return InvalidRequest(f"Invalid request: {what}.")


def _request_id(offered: str | None) -> str:
    if offered and _SANE_REQUEST_ID.fullmatch(offered):
        return offered
    return uuid.uuid4().hex


def _tornados(status: int) -> RequestError:
    """Tornado's own refusal, or an error that nobody expected, without its text."""
    if status < 500:
        return RequestError(f"{responses.get(status, 'The request was refused')}.")
    return RequestError()


def _as_json(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} is not JSON")
