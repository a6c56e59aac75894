"""Authenticate requests of a Jupyter Server, and adapt the service's handlers to it.

:func:`adapt_handler` puts a mixin of this module before a handler of the service. The mixin runs
Jupyter's checks first: host, identity provider, authorizer, XSRF and CORS.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.auth.identity import User
from jupyter_server.auth.utils import HTTP_METHOD_TO_AUTH_ACTION
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.utils import ensure_async
from tornado.web import HTTPError, RequestHandler, authenticated

from ..errors import Forbidden, Unauthorized
from ..handlers.base import BaseHandler
from ..handlers.methods import implemented_methods
from ..models import Identity
from .users import identity_of

AUTH_RESOURCE = "datalayer_stripe"
"""The resource that the server's authorizer is asked about, with the action `read` or `write`."""

_SIGN_IN = "Sign in to this server, or send a token of this server or of Datalayer."

if TYPE_CHECKING:
    from ..service import Service

    class _MixinBase(JupyterHandler):
        """What the mixins use of the handler after them, for the type checker."""

        service: Service

        def prepare(self) -> None: ...  # type: ignore[override]

else:
    _MixinBase = object


class PublicMixin(_MixinBase):
    """Mixin for public routes: skips the host and authentication checks."""

    def set_default_headers(self) -> None:
        """Set Jupyter's headers first, so that those of the handler replace them."""
        JupyterHandler.set_default_headers(self)
        super().set_default_headers()


class AuthenticatedMixin(PublicMixin):
    """Mixin for routes of an account: a Datalayer token or Jupyter authenticates the caller."""

    security: ClassVar[tuple[str, ...]] = ("bearer", "jupyter_token", "jupyter_cookie")

    is_page: ClassVar[bool] = False
    """Whether a person opens the route in a browser, and is redirected to the login."""

    accepts_datalayer_tokens: ClassVar[bool] = True

    async def prepare(self) -> None:  # type: ignore[override]
        """Check the host, authenticate and authorize the caller, then prepare the handler.

        Raises:
            Forbidden: The host, the origin or the caller is not allowed.
            Unauthorized: The caller is not authenticated.
        """
        tokens = self.service.bearer_tokens
        if not self.check_host():
            raise Forbidden(
                "This server does not accept requests for this host name. Its operator can allow "
                "it with ServerApp.allow_remote_access or ServerApp.local_hostnames."
            )
        authorization = self.request.headers.get("Authorization")
        if self.accepts_datalayer_tokens and tokens.has_accepted_issuer(authorization):
            self._identity = tokens.authenticate(authorization)
            prefix = self.service.settings.stripe_jupyter_username_prefix
            if prefix and self._identity.account_uid.startswith(prefix):
                raise Unauthorized  # accounts with the prefix belong to users of this server
            # No XSRF check: a browser never sends this header by itself, as it sends cookies.
            self.current_user = self._jupyter_current_user = User(self._identity.account_uid)
            self.set_cors_headers()
        else:
            await self._authenticate_with_jupyter()
        if not self._finished and self.is_page:
            self._prepare_page()
        if not self._finished:  # by a redirect
            super().prepare()

    def _prepare_page(self) -> None:
        if self.get_query_argument("token", ""):
            # The token has authenticated the browser, which has a cookie now. Stripe's script
            # must not read the token in the address.
            self.redirect(self.request.path)
        else:
            self.xsrf_token  # noqa: B018 (sets the cookie whose value the page's requests send)

    async def _authenticate_with_jupyter(self) -> None:
        try:
            await JupyterHandler.prepare(self)
        except (HTTPError, Forbidden):
            # Jupyter checks XSRF before it rejects an anonymous caller. Signing in is the first
            # thing that such a caller has to do, so answer that instead.
            if getattr(self, "_jupyter_current_user", self) is not None:
                raise
            self._reject_anonymous()
            return
        if self._finished or self.request.method == "OPTIONS":
            return
        if self.current_user is None:
            self._reject_anonymous()
        elif not self.check_origin():
            raise Forbidden(
                "This server does not accept requests from pages of this origin. Its operator can "
                "allow it with ServerApp.allow_origin."
            )
        else:
            await self._authorize(self.current_user)

    async def _authorize(self, user: User) -> None:
        """Ask the server's authorizer.

        Raises:
            Forbidden: It does not allow the user to call the route.
        """
        action = HTTP_METHOD_TO_AUTH_ACTION[str(self.request.method)]
        if not await ensure_async(self.authorizer.is_authorized(self, user, action, AUTH_RESOURCE)):
            raise Forbidden(f"This server's authorizer does not let you {action} {AUTH_RESOURCE}.")

    def _reject_anonymous(self) -> None:
        """Redirect to the login if this is a page.

        Raises:
            Unauthorized: It is not.
        """
        if not self.is_page:
            raise Unauthorized(_SIGN_IN)
        authenticated(lambda _: None)(self)  # redirects

    def get_login_url(self) -> str:
        """Return the URL of Jupyter's login, for a page.

        Raises:
            Unauthorized: The route is not a page.
        """
        if not self.is_page:
            raise Unauthorized(_SIGN_IN)
        return super().get_login_url()

    def identify(self) -> Identity:
        """Return the caller's account.

        Raises:
            Forbidden: The user of the server cannot own an account.
        """
        if not hasattr(self, "_identity"):
            settings = self.service.settings
            self._identity = identity_of(
                self.current_user,
                self.identity_provider,
                livemode=settings.livemode,
                prefix=settings.stripe_jupyter_username_prefix,
            )
        return self._identity

    def check_xsrf_cookie(self) -> None:
        """Check the XSRF cookie as Jupyter does, with an error that says what to send.

        Raises:
            Forbidden: The header is missing or wrong.
        """
        try:
            super().check_xsrf_cookie()
        except HTTPError as error:
            raise Forbidden(
                "A request with a cookie must come from a page of this server, and send the value "
                "of the _xsrf cookie in the X-XSRFToken header."
            ) from error

    def allow_origins(self) -> None:
        """Set no CORS headers here: Jupyter sets them, as ServerApp.allow_origin says."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write the error of the handler, with Jupyter's CORS headers.

        Args:
            status_code: The HTTP status.
            **kwargs: `exc_info`, if an exception caused the error.
        """
        if hasattr(self, "_jupyter_current_user"):
            self.set_cors_headers()  # send_error() has cleared them
        super().write_error(status_code, **kwargs)


class PageMixin(AuthenticatedMixin):
    """Mixin for the pages: redirects a person who is not signed in to Jupyter's login."""

    is_page = True


class OperatorMixin(AuthenticatedMixin):
    """Mixin for operator routes: only Jupyter authenticates, Datalayer tokens are not accepted."""

    security = ("jupyter_token", "jupyter_cookie")
    accepts_datalayer_tokens = False


def adapt_handler(
    handler: type[BaseHandler], mixin: type[PublicMixin] = AuthenticatedMixin
) -> type[RequestHandler]:
    """Return a subclass of a handler that a Jupyter Server can serve.

    Args:
        handler: A handler of the service.
        mixin: The mixin that decides who may call the route.

    Returns:
        The subclass, with the name and the docstring of `handler`.
    """
    is_public = not issubclass(mixin, AuthenticatedMixin)
    methods: dict[str, Callable[..., Any]] = {
        name: allow_unauthenticated(getattr(handler, name))
        # Browsers send preflight requests without cookie and token.
        if is_public or name == "options"
        else authenticated(getattr(handler, name))
        for name in map(str.lower, implemented_methods(handler))
    }
    copied = {"__module__": handler.__module__, "__doc__": handler.__doc__}
    return type(handler.__name__, (mixin, handler, JupyterHandler), {**methods, **copied})
