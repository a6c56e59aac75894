"""Handlers of the routes for operators: health, readiness and metrics."""

from ..metrics import CONTENT_TYPE
from .base import BaseHandler


class HealthHandler(BaseHandler):
    """`GET /healthz`: answer 200 while the process runs."""

    async def get(self) -> None:
        self.respond(status="ok")


class ReadyHandler(BaseHandler):
    """`GET /readyz`: answer 200 if requests can be served, else 503 with the problems.

    A problem with Stripe is only a warning: paid top-ups are still credited, and a restart or
    another instance would not help.
    """

    async def get(self) -> None:
        problems = {}
        if self.app_state.request_tracker.draining:
            problems["service"] = "shutting down"
        if problem := await self.service.database_probe.problem():
            problems["database"] = problem
        warnings = self._warnings()
        if problems:
            self.set_status(503)
            self.set_header("Retry-After", "5")
            self._finish_json(
                {
                    "success": False,
                    "status": "not ready",
                    "problems": problems,
                    "warnings": warnings,
                }
            )
        else:
            self.respond(status="ready", warnings=warnings)

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

    async def get(self) -> None:
        self.set_header("Content-Type", CONTENT_TYPE)
        self.finish(self.service.metrics.exposition())


probe_handlers = [
    (r"/healthz", HealthHandler),
    (r"/readyz", ReadyHandler),
]

metrics_handlers = [(r"/metrics", MetricsHandler)]

default_handlers = [*probe_handlers, *metrics_handlers]
