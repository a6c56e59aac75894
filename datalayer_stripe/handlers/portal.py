"""Handler of the route that opens a session of Stripe's billing portal."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from ..errors import InvalidRequest
from ..settings import variable
from .api import AuthenticatedHandler
from .urls import IAM_PREFIX, absolute_url, is_loopback, origin_of


class PortalRequest(BaseModel):
    """Body of the request: the URL to which the billing portal links back."""

    return_url: Annotated[str, Field(max_length=2048, strict=True), AfterValidator(absolute_url)]


class PortalHandler(AuthenticatedHandler):
    """`POST /checkout/portal`: create a billing-portal session and return its URL."""

    async def post(self) -> None:
        return_url = self.json_body(PortalRequest).return_url
        settings = self.service.settings
        allowed = settings.cors_origins
        if allowed != ("*",) and origin_of(return_url) not in (*allowed, *self._own_origins()):
            raise InvalidRequest(
                f"Invalid request: the origin of `return_url` is not in {variable('cors_origins')}."
            )
        self.service.rate_limiter.take(self.identity.account_uid)
        self.respond(
            portal={
                "url": await self.service.portal.open(self.identity.account_uid, return_url),
                "route": self.app_state.checkout_route,
                "is_modal": False,
                "metadata": {"stripe_key": settings.stripe_js_api_key},
            }
        )

    def _own_origins(self) -> tuple[str, ...]:
        """Return the origins of the checkout page, if it is served on a loopback address.

        The client chooses the Host header, so every other host must be in the settings. Both
        schemes are returned because a proxy on this machine may have terminated TLS.
        """
        host = self.request.host.lower()
        if not is_loopback(host):
            return ()
        return f"https://{host}", f"http://{host}"


default_handlers = [(rf"{IAM_PREFIX}/checkout/portal", PortalHandler)]
