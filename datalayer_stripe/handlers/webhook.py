"""Handler of the webhook, which receives Stripe's deliveries."""

from ..errors import DeliveryFailed, InvalidSignature, RequestError
from ..webhooks.delivery import STILL_PROCESSING
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
        signature = self.request.headers.get("Stripe-Signature")
        try:
            event, outcome = await self.service.deliveries.receive(
                self.body, signature, on_late=self._answer_late
            )
        except RequestError:
            if not self._finished:
                raise
            return
        if not self._finished:
            self._finish_json({"received": True, "event": event.id, "outcome": outcome.value})

    def _answer_late(self) -> None:
        """Answer 503 while the event is still being processed."""
        self._handle_request_exception(DeliveryFailed(STILL_PROCESSING))


default_handlers = [(WEBHOOK_PATH, WebhookHandler)]
