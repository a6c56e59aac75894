"""Who may call within a Jupyter Server, and what its handlers bring along.

:func:`in_jupyter` makes a handler of the service one of the server's. It answers as ever; what
comes before is Jupyter's: the check of the host, its identity provider and authorizer, XSRF, CORS.
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
"""What the server's authorizer is asked about, with the action `read` or `write`."""

_SIGN_IN = "Sign in to this server, or send a token of it or of Datalayer's."

if TYPE_CHECKING:
    from ..handlers.site import Site
    from ..service import Service

    class _Mixin(JupyterHandler):
        """What a mixin may count on: a handler of ours, and behind it Jupyter's."""

        site: Site
        service: Service

        def prepare(self) -> None: ...  # type: ignore[override]

else:
    _Mixin = object


class OpenAccess(_Mixin):
    """For what is nobody's: neither the host is checked nor who calls."""

    def set_default_headers(self) -> None:
        JupyterHandler.set_default_headers(self)
        super().set_default_headers()  # where both set one, ours


class Access(OpenAccess):
    """For what is somebody's: Jupyter says who calls, unless a Datalayer token does."""

    is_page: ClassVar[bool] = False
    takes_datalayer_tokens: ClassVar[bool] = True

    async def prepare(self) -> None:  # type: ignore[override]
        tokens = self.service.bearer_tokens
        if not self.check_host():
            raise Forbidden(
                "This server answers at names of its own machine alone. "
                "ServerApp.allow_remote_access or ServerApp.local_hostnames lets others in."
            )
        authorization = self.request.headers.get("Authorization")
        if self.takes_datalayer_tokens and tokens.are_addressed(authorization):
            self._identity = tokens.identity(authorization)
            prefix = self.service.settings.stripe_jupyter_username_prefix
            if prefix and self._identity.account_uid.startswith(prefix):
                raise Unauthorized  # these accounts are the server's users
            # A token in a header is sent on purpose: nothing that XSRF has to be feared for.
            self.current_user = self._jupyter_current_user = User(self._identity.account_uid)
            self.set_cors_headers()
        else:
            await self._ask_jupyter()
        if not self._finished and self.is_page:
            self._prepare_page()
        if not self._finished:  # by a redirect
            super().prepare()

    def _prepare_page(self) -> None:
        if self.get_query_argument("token", ""):
            # It has signed in by now, and Stripe's script is not to read it in the address.
            self.redirect(self.request.path)
        else:
            self.xsrf_token  # noqa: B018 (sets the cookie that the page's requests repeat)

    async def _ask_jupyter(self) -> None:
        try:
            await JupyterHandler.prepare(self)
        except (HTTPError, Forbidden):
            # XSRF is checked first; but who is unknown has to sign in before anything else.
            if getattr(self, "_jupyter_current_user", self) is not None:
                raise
            self._turn_away()
            return
        if self._finished or self.request.method == "OPTIONS":
            return
        if self.current_user is None:
            self._turn_away()
        elif not self.check_origin():
            raise Forbidden("Other origins may call when ServerApp.allow_origin names them.")
        else:
            await self._ask_authorizer(self.current_user)

    async def _ask_authorizer(self, user: User) -> None:
        action = HTTP_METHOD_TO_AUTH_ACTION[str(self.request.method)]
        if not await ensure_async(self.authorizer.is_authorized(self, user, action, AUTH_RESOURCE)):
            raise Forbidden(f"This server's authorizer does not let you {action} {AUTH_RESOURCE}.")

    def _turn_away(self) -> None:
        if not self.is_page:
            raise Unauthorized(_SIGN_IN)
        authenticated(lambda _: None)(self)  # leads to the login

    def get_login_url(self) -> str:
        """Where Jupyter leads to who opens a page. Raises Unauthorized for all else."""
        if not self.is_page:
            raise Unauthorized(_SIGN_IN)
        return super().get_login_url()

    def identify(self) -> Identity:
        """Who calls. Raises Forbidden where the server does not know it well enough."""
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
        """As Jupyter does; the answer says what is missing."""
        try:
            super().check_xsrf_cookie()
        except HTTPError as error:
            raise Forbidden(
                "Who calls by a cookie sends the _xsrf cookie's value too, as X-XSRFToken, "
                "and from this server's own pages."
            ) from error

    def allow_origins(self) -> None:
        """Jupyter says which pages may read an answer: ServerApp.allow_origin."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """As ours, and readable to the same pages as other answers."""
        if hasattr(self, "_jupyter_current_user"):
            self.set_cors_headers()  # send_error() has cleared them
        super().write_error(status_code, **kwargs)


class PageAccess(Access):
    """For the page, which people open: who is not signed in comes to Jupyter's login."""

    is_page = True


class OperatorAccess(Access):
    """For what operators look at: the server's own sign-in counts, a Datalayer token does not."""

    takes_datalayer_tokens = False


def in_jupyter(
    handler: type[BaseHandler], access: type[OpenAccess] = Access
) -> type[RequestHandler]:
    """The handler as one of the server's: its own code, behind `access`."""
    is_open = not issubclass(access, Access)
    methods: dict[str, Callable[..., Any]] = {
        name: allow_unauthenticated(getattr(handler, name))
        # A preflight comes without cookie and token.
        if is_open or name == "options"
        else authenticated(getattr(handler, name))
        for name in map(str.lower, implemented_methods(handler))
    }
    kept = {"__module__": handler.__module__, "__doc__": handler.__doc__}
    return type(handler.__name__, (access, handler, JupyterHandler), {**methods, **kept})
