"""For operators: is it alive, is it ready, what does it count."""

from ..errors import StoreUnavailable
from ..metrics import CONTENT_TYPE
from .base import BaseHandler


class HealthHandler(BaseHandler):
    """`GET /healthz`: the process lives."""

    async def get(self) -> None:
        self.answer(status="ok")


class ReadyHandler(BaseHandler):
    """`GET /readyz`: requests can be served; if not, what is in the way."""

    async def get(self) -> None:
        problems = {}
        if self.settings["traffic"].draining:
            problems["service"] = "shutting down"
        try:
            await self.service.store.ping()
        except StoreUnavailable:
            problems["database"] = "does not answer"
        if problems:
            self.set_status(503)
            self.set_header("Retry-After", "5")
            self._finish_json({"success": False, "status": "not ready", "problems": problems})
        else:
            self.answer(status="ready")


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
