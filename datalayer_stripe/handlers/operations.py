"""For operators: is it alive, is it ready, what does it count."""

from ..metrics import CONTENT_TYPE
from .base import BaseHandler


class HealthHandler(BaseHandler):
    """`GET /healthz`: the process lives."""

    async def get(self) -> None:
        self.answer(status="ok")


class ReadyHandler(BaseHandler):
    """`GET /readyz`: requests can be served; if not, what is in the way.

    Stripe in trouble is a warning and no more: what has been paid is credited all the same, and
    to take the service out of the way would help nobody.
    """

    async def get(self) -> None:
        problems = {}
        if self.site.request_tracker.draining:
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
            self.answer(status="ready", warnings=warnings)

    def _warnings(self) -> dict[str, str]:
        warnings = dict(self.service.configuration_faults.found)
        if trouble := self.service.stripe.trouble:
            warnings["stripe"] = f"the last call ended with {trouble}"
        if names := self.service.registry.disabled_money_plugins:
            warnings["plugins"] = f"switched off, and they move money: {', '.join(names)}"
        if warning := self.service.deliveries.signatures.warning:
            warnings["webhook"] = warning
        return warnings


class MetricsHandler(BaseHandler):
    """`GET /metrics`: Prometheus' text format."""

    async def get(self) -> None:
        self.set_header("Content-Type", CONTENT_TYPE)
        self.finish(self.service.metrics.exposition())


default_handlers = [
    (r"/healthz", HealthHandler),
    (r"/readyz", ReadyHandler),
    (r"/metrics", MetricsHandler),
]
