"""Open a session of Stripe's billing portal."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from ..errors import InvalidRequest
from .base import AuthenticatedHandler
from .urls import IAM_PREFIX, absolute_url, is_loopback, origin_of


class PortalRequest(BaseModel):
    """Where the billing portal leads back to."""

    return_url: Annotated[str, Field(max_length=2048, strict=True), AfterValidator(absolute_url)]


class PortalHandler(AuthenticatedHandler):
    """`POST /checkout/portal`: a session of Stripe's billing portal."""

    async def post(self) -> None:
        return_url = self.json_body(PortalRequest).return_url
        settings = self.service.settings
        allowed = settings.cors_origins
        if allowed != ("*",) and origin_of(return_url) not in (*allowed, *self._own_origins()):
            raise InvalidRequest(
                "Invalid request: `return_url` is not of an origin in DATALAYER_CORS_ORIGIN."
            )
        self.service.rate_limiter.take(self.identity.account_uid)
        self.answer(
            portal={
                "url": await self.service.portal.open(self.identity.account_uid, return_url),
                "route": self.site.checkout_route,
                "is_modal": False,
                "metadata": {"stripe_key": settings.stripe_js_api_key},
            }
        )

    def _own_origins(self) -> tuple[str, ...]:
        """Return the origins of the checkout page here, on a loopback address only.

        A client chooses its Host header, so that any other host has to be in the settings. A
        proxy on this machine may have taken TLS off.
        """
        host = self.request.host.lower()
        if not is_loopback(host):
            return ()
        return f"https://{host}", f"http://{host}"


default_handlers = [(rf"{IAM_PREFIX}/checkout/portal", PortalHandler)]
