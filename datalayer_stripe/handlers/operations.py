"""Handlers of the routes for operators: health, readiness and metrics."""

from typing import Literal

from pydantic import Field

from ..metrics import CONTENT_TYPE
from ..models import Model
from .base import BaseHandler
from .operation import Answer, Operation


class HealthAnswer(Answer):
    """The process runs."""

    status: Literal["ok"] = "ok"


class ReadyAnswer(Answer):
    """Requests can be served."""

    status: Literal["ready"] = "ready"
    warnings: dict[str, str] = Field(
        description="Problems that do not stop the service, by their subject.", examples=[{}]
    )


class NotReadyAnswer(Model):
    """Requests cannot be served."""

    success: Literal[False] = False
    status: Literal["not ready"] = "not ready"
    problems: dict[str, str] = Field(
        description="The reasons, by their subject.", examples=[{"service": "shutting down"}]
    )
    warnings: dict[str, str] = Field(
        description="Problems that do not stop the service, by their subject.", examples=[{}]
    )


class HealthHandler(BaseHandler):
    """`GET /healthz`: answer 200 while the process runs."""

    @Operation(HealthAnswer)
    async def get(self) -> None:
        self.respond(HealthAnswer())


class ReadyHandler(BaseHandler):
    """`GET /readyz`: answer 200 if requests can be served, else 503 with the problems.

    A problem with Stripe is only a warning: paid top-ups are still credited, and a restart or
    another instance would not help.
    """

    @Operation(ReadyAnswer, failures=((503, NotReadyAnswer),))
    async def get(self) -> None:
        problems = {}
        if self.app_state.request_tracker.draining:
            problems["service"] = "shutting down"
        if problem := await self.service.database_probe.problem():
            problems["database"] = problem
        warnings = self._warnings()
        if problems:
            self.set_header("Retry-After", "5")
            self.respond(NotReadyAnswer(problems=problems, warnings=warnings), 503)
        else:
            self.respond(ReadyAnswer(warnings=warnings))

    def _warnings(self) -> dict[str, str]:
        warnings = {
            **self.service.check_results.problems,
            **self.service.configuration_faults.current,
        }
        if error := self.service.stripe.last_error:
            warnings["stripe"] = f"the last call ended with {error}"
        if names := self.service.registry.disabled_money_plugins:
            warnings["plugins"] = f"these plugins move money and are disabled: {', '.join(names)}"
        if warning := self.service.deliveries.signatures.warning:
            warnings["webhook"] = warning
        return warnings


class MetricsHandler(BaseHandler):
    """`GET /metrics`: return the metrics in Prometheus' text format."""

    @Operation(media_type="text/plain")
    async def get(self) -> None:
        self.set_header("Content-Type", CONTENT_TYPE)
        self.finish(self.service.metrics.exposition())


probe_handlers = [
    (r"/healthz", HealthHandler),
    (r"/readyz", ReadyHandler),
]

metrics_handlers = [(r"/metrics", MetricsHandler)]

default_handlers = [*probe_handlers, *metrics_handlers]
