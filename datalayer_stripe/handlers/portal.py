"""Handler of the route that opens a session of Stripe's billing portal."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ..errors import InvalidRequest
from ..models import Model
from ..settings import variable
from .account_scope import AccountScope
from .api import AuthenticatedHandler
from .operation import PURCHASE_ERRORS, Answer, Operation
from .urls import IAM_PREFIX, absolute_url, is_loopback, origin_of


class PortalRequest(AccountScope):
    """Body of the request: the URL to which the billing portal links back."""

    return_url: Annotated[
        str,
        Field(
            max_length=2048,
            strict=True,
            description="An absolute http(s) URL of an origin that the settings name.",
            examples=["https://app.example.com/settings"],
            json_schema_extra={"format": "uri"},
        ),
        AfterValidator(absolute_url),
    ]


class PortalKeys(Model):
    """What the page needs beside the URL."""

    stripe_key: str = Field(examples=["pk_test_Example"])


class PortalSession(Model):
    """A session of the billing portal, or the public link of the portal."""

    url: str | None = Field(examples=["https://billing.example.com/p/session/example"])
    route: str = Field(description="The location of the checkout page.", examples=["checkout"])
    is_modal: Literal[False] = False
    metadata: PortalKeys


class PortalAnswer(Answer):
    """Where the billing portal is."""

    portal: PortalSession


class PortalHandler(AuthenticatedHandler):
    """`POST /checkout/portal`: create a billing-portal session and return its URL."""

    @Operation(PortalAnswer, body=PortalRequest, errors=PURCHASE_ERRORS)
    async def post(self) -> None:
        return_url = self.json_body(PortalRequest).return_url
        settings = self.service.settings
        allowed = settings.cors_origins
        if allowed != ("*",) and origin_of(return_url) not in (*allowed, *self._own_origins()):
            raise InvalidRequest(
                f"Invalid request: the origin of `return_url` is not in {variable('cors_origins')}."
            )
        self.service.rate_limiter.take(self.identity.account_uid)
        session = PortalSession(
            url=await self.service.portal.open(self.identity.account_uid, return_url),
            route=self.app_state.checkout_route,
            metadata=PortalKeys(stripe_key=settings.stripe_js_api_key),
        )
        self.respond(PortalAnswer(portal=session))

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
