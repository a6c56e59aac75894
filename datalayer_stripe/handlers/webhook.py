"""The webhook: Stripe's deliveries come in here."""

from ..errors import InvalidSignature
from .base import BaseHandler
from .urls import WEBHOOK_PATH


class WebhookHandler(BaseHandler):
    """`POST /webhook`: docs.stripe.com/webhooks.

    Exempt from bearer token and XSRF, since the signature over the raw body says who calls; and
    from nothing else.
    """

    max_body_bytes = 1024 * 1024

    def check_xsrf_cookie(self) -> None:
        """Stripe has no cookie of ours."""

    def check_trusted_origin(self, origin: str) -> bool:  # noqa: ARG002 (Tornado's signature)
        """No origin is trusted for where it is: the signature decides."""
        return True

    def prepare(self) -> None:
        super().prepare()
        if self.request.method == "POST" and not self.request.headers.get("Stripe-Signature"):
            raise InvalidSignature  # before its body is read

    async def post(self) -> None:
        event, outcome = await self.service.deliveries.receive(
            self.body, self.request.headers.get("Stripe-Signature")
        )
        self._finish_json({"received": True, "event": event.id, "outcome": outcome.value})


default_handlers = [(WEBHOOK_PATH, WebhookHandler)]
