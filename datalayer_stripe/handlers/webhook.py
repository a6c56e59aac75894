"""Handler of the webhook, which receives Stripe's deliveries."""

import logging
from types import TracebackType
from typing import Any, Literal

from pydantic import ConfigDict, Field, RootModel
from tornado.web import HTTPError

from ..errors import DeliveryFailed, InvalidSignature, Overloaded, RequestError
from ..events import Event
from ..models import Model
from ..webhooks.delivery import DELIVERY, STILL_PROCESSING
from ..webhooks.outcome import Outcome
from ..webhooks.thin_events import ThinEvent
from .access_log import access_logger, request_fields
from .base import BaseHandler, cause_name, refusal_level
from .operation import STORE_ERRORS, Operation
from .urls import WEBHOOK_PATH


class DeliveryRequest(RootModel[Event | ThinEvent]):
    """A snapshot event or a thin event of Stripe."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "evt_Example",
                    "object": "event",
                    "type": "payment_intent.succeeded",
                    "created": 1767225600,
                    "livemode": False,
                    "data": {"object": {"id": "pi_Example", "object": "payment_intent"}},
                }
            ]
        }
    )


class DeliveryAnswer(Model):
    """How the delivery ended. Its effects are durable."""

    received: Literal[True] = True
    event: str = Field(description="The id of the snapshot event.", examples=["evt_Example"])
    outcome: Literal[
        Outcome.PROCESSED, Outcome.DEFERRED, Outcome.DUPLICATE, Outcome.IGNORED, Outcome.REJECTED
    ]


class WebhookHandler(BaseHandler):
    """`POST /webhook`: receive a delivery of an event.

    The signature over the raw body authenticates the sender, so this route needs no bearer token
    and no XSRF cookie. All other checks apply.

    https://docs.stripe.com/webhooks
    """

    max_body_bytes = 1024 * 1024

    security = ("stripe_signature",)

    logs_requests = True
    """The line of a delivery is this handler's, in a Jupyter Server, too."""

    def initialize(self) -> None:
        super().initialize()
        self._log_level = logging.INFO
        self._refusal: dict[str, Any] = {}

    def check_xsrf_cookie(self) -> None:
        """Skip the XSRF check: Stripe has no cookie of this server."""

    def check_trusted_origin(self, origin: str) -> bool:  # noqa: ARG002 (Tornado's signature)
        """Accept every origin: the signature decides."""
        return True

    def prepare(self) -> None:
        super().prepare()
        if self.request.method == "POST" and not self.request.headers.get("Stripe-Signature"):
            raise InvalidSignature  # without reading the body

    @Operation(
        DeliveryAnswer,
        body=DeliveryRequest,
        errors=(*STORE_ERRORS, InvalidSignature, DeliveryFailed, Overloaded),
    )
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

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Log errors other than Tornado's own, whose only fact is the status."""
        if not isinstance(value, HTTPError):
            super().log_exception(typ, value, tb)

    def log_refusal(self, error: RequestError) -> None:
        """Keep the cause of a refusal for the line of the delivery."""
        self._log_level = refusal_level(error)
        self._refusal = {
            "code": error.code,
            "reason": error.message,
            "cause": cause_name(error),
        }

    def on_finish(self) -> None:
        super().on_finish()
        access_logger.log(self._log_level, DELIVERY, extra=request_fields(self) | self._refusal)

    def _answer_late(self) -> None:
        """Answer 503 while the event is still being processed."""
        self._handle_request_exception(DeliveryFailed(STILL_PROCESSING))


default_handlers = [(WEBHOOK_PATH, WebhookHandler)]
