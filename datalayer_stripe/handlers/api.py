"""Base handlers of the routes that clients call: CORS and authentication."""

from typing import TypeVar

from pydantic import BaseModel
from tornado.web import HTTPError

from ..logs import bind_log_context
from ..models import Identity
from .account_scope import AccountScope
from .base import BaseHandler
from .methods import implemented_methods

M = TypeVar("M", bound=BaseModel)


class ApiHandler(BaseHandler):
    """Base of the routes that browsers may call from other origins (CORS)."""

    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.allow_origins()

    def allow_origins(self) -> None:
        """Set the CORS headers as `DATALAYER_CORS_ORIGIN` says.

        Only an origin that is listed may send credentials with a request, as Datalayer's UI does.
        The service reads no cookies. But a proxy in front of it may authenticate people by
        cookies, and `*` must not let every website use them.
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
        """Answer a preflight request.

        https://developer.mozilla.org/docs/Glossary/Preflight_request
        """
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


class IdentifiedHandler(ApiHandler):
    """Base of the routes whose caller has to be authenticated."""

    security = ("bearer",)

    identity: Identity
    """The authenticated caller. It is set before the HTTP method runs."""

    def prepare(self) -> None:
        super().prepare()
        if self.request.method != "OPTIONS":
            self.identity = self.identify()
            bind_log_context(account_uid=self.identity.account_uid)

    def identify(self) -> Identity:
        """Authenticate the caller.

        Returns:
            The account that the bearer token names.

        Raises:
            Unauthorized: The token is missing or not valid.
        """
        return self.service.bearer_tokens.authenticate(self.request.headers.get("Authorization"))


class AuthenticatedHandler(IdentifiedHandler):
    """Base of the routes that act for the caller's account, and for no other account."""

    base_query = AccountScope

    def prepare(self) -> None:
        super().prepare()
        if self.request.method != "OPTIONS":
            names = self.request.query_arguments
            arguments = {name: self.get_query_arguments(name) for name in names}
            for scope in AccountScope.from_query(arguments):
                scope.check(self.identity.account_uid)

    def json_body(self, model: type[M]) -> M:
        """Parse the request body.

        Args:
            model: The pydantic model of the body.

        Returns:
            The validated body.

        Raises:
            Forbidden: The body names another account than the caller's.
            UnsupportedMediaType: The Content-Type is not `application/json`.
            InvalidRequest: The body is not valid JSON, or does not match the model.
            TooLarge: The body is longer than the route accepts.
            Overloaded: There was no memory left for the body.
        """
        super().json_body(AccountScope).check(self.identity.account_uid)
        return super().json_body(model)

    def check_optional_body(self) -> None:
        """Check the account that a body names, on a route that needs no body.

        Raises the errors of `json_body` if there is a body.
        """
        if self.body:
            self.json_body(AccountScope)


class NotFoundHandler(ApiHandler):
    """Answer 404 for every path that is not a route.

    A preflight request succeeds, so that pages of other origins can read the 404.
    """

    def prepare(self) -> None:
        if self.request.method != "OPTIONS":
            raise HTTPError(404)
        super().prepare()
