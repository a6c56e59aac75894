"""Handler of the webhook, which receives Stripe's deliveries."""

from ..errors import InvalidSignature
from .base import BaseHandler
from .urls import WEBHOOK_PATH


class WebhookHandler(BaseHandler):
    """`POST /webhook`: receive a delivery of an event.

    The signature over the raw body authenticates the sender, so this route needs no bearer token
    and no XSRF cookie. All other checks apply.

    https://docs.stripe.com/webhooks
    """

    max_body_bytes = 1024 * 1024

    def check_xsrf_cookie(self) -> None:
        """Skip the XSRF check: Stripe has no cookie of this server."""

    def check_trusted_origin(self, origin: str) -> bool:  # noqa: ARG002 (Tornado's signature)
        """Accept every origin: the signature decides."""
        return True

    def prepare(self) -> None:
        super().prepare()
        if self.request.method == "POST" and not self.request.headers.get("Stripe-Signature"):
            raise InvalidSignature  # without reading the body

    async def post(self) -> None:
        event, outcome = await self.service.deliveries.receive(
            self.body, self.request.headers.get("Stripe-Signature")
        )
        self._finish_json({"received": True, "event": event.id, "outcome": outcome.value})


default_handlers = [(WEBHOOK_PATH, WebhookHandler)]
