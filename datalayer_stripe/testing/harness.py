"""The parts behind a `PluginService`, in its event loop: the service and its HTTP server."""

import json
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Self

from tornado.httpclient import AsyncHTTPClient

from ..app import DEFAULT_HOST, Server, listen, make_app
from ..handlers.urls import WEBHOOK_PATH
from ..plugin_api.definition import Plugin
from ..service import Service
from .database import Database
from .faults import CallGate, FaultInjector
from .gated_clients import gated_store
from .plugin_environment import PluginEnvironment, PluginSettings

_REQUEST_TIMEOUT = 30  # seconds
_SHUTDOWN_SECONDS = 1


@dataclass(frozen=True)
class PluginStatus:
    """The state of a plugin for an event.

    Attributes:
        status: "done", "deferred", "failed" or "rejected".
        reason: Why it has failed or rejected the event; None otherwise.
        attempts: The number of recorded runs.
    """

    status: str
    reason: str | None
    attempts: int


@dataclass(frozen=True)
class DeliveryResponse:
    """The response to a delivery.

    Attributes:
        status: The HTTP status: 200, or 503 if Stripe must deliver the event again.
        outcome: "processed", "deferred", "duplicate", "ignored" or "rejected"; or the code of an
            error, such as "delivery_failed".
        outcomes: The status of each plugin for the event after the delivery, by its name.
    """

    status: int
    outcome: str
    outcomes: Mapping[str, str]


@dataclass(frozen=True)
class Harness:
    """A running service with its environment. Use :meth:`open` and :meth:`close`."""

    database: Database
    environment: PluginEnvironment
    service: Service
    _http: AsyncHTTPClient
    _url: str
    _closing: AsyncExitStack

    @classmethod
    async def open(
        cls, mongodb_url: str, plugins: Sequence[Plugin[Any]], plugin_settings: PluginSettings
    ) -> Self:
        """Start the local Stripe, the service and its HTTP server.

        Args:
            mongodb_url: The MongoDB to create a database on, or `memory://`.
            plugins: The plugins of the service.
            plugin_settings: Their settings, by the plugin's name.

        Returns:
            The harness, which the caller closes.

        Raises:
            StoreError: The database cannot be used.
            PluginError: A plugin cannot start.
        """
        closing = AsyncExitStack()
        try:
            database = await Database.open(mongodb_url, processes=1)
            closing.push_async_callback(database.drop)
            environment = await PluginEnvironment.open(database)
            closing.push_async_callback(environment.stop)
            service = await environment.start_service(
                plugins,
                plugin_settings,
                # A gate without faults: the service must not close the database, which is dropped
                # after it.
                store=gated_store(database.store(0), CallGate(FaultInjector())),
            )
            closing.push_async_callback(service.close)
            server = Server(make_app(service), listen(DEFAULT_HOST, 0))
            closing.push_async_callback(server.stop, seconds=_SHUTDOWN_SECONDS)
        except BaseException:
            await closing.aclose()
            raise
        http = AsyncHTTPClient(force_instance=True)
        closing.callback(http.close)
        url = f"http://{DEFAULT_HOST}:{server.port}{WEBHOOK_PATH}"
        return cls(database, environment, service, http, url, closing)

    async def close(self) -> None:
        """Stop everything, and drop the database."""
        await self._closing.aclose()

    async def post(self, event: Mapping[str, Any], *, sign: bool = True) -> DeliveryResponse:
        """Deliver an event over HTTP; `sign=False` sends a wrong signature."""
        body, signature = self.environment.signed(event)
        if not sign:
            signature = f"{signature.partition(',')[0]},v1=00"
        response = await self._http.fetch(
            self._url,
            method="POST",
            body=body,
            headers={"Content-Type": "application/json", "Stripe-Signature": signature},
            request_timeout=_REQUEST_TIMEOUT,
            raise_error=False,
        )
        fields = json.loads(response.body or b"{}")
        outcome = fields.get("outcome") or fields.get("code", "no answer")
        statuses = await self.plugin_statuses(event["id"])
        return DeliveryResponse(
            response.code, outcome, {name: one.status for name, one in statuses.items()}
        )

    async def plugin_statuses(self, event_id: str) -> dict[str, PluginStatus]:
        """Return the status of each plugin that was run on an event, by its name."""
        record = await self.service.store.events.get(event_id)
        runs = record.handlers if record else {}
        return {
            name: PluginStatus(run.status, run.error, run.attempts) for name, run in runs.items()
        }

    async def balance(self, account_uid: str) -> int:
        """Return the credits of an account."""
        return (await self.service.store.accounts.get(account_uid)).credits

    async def run_deferred(self) -> int:
        """Run all deferred jobs to their end; advance the clock to the time when each is due.

        Returns:
            The number of jobs.
        """
        number = len(await self.database.documents("jobs"))
        await self.service.worker.run_due()
        while jobs := await self.database.documents("jobs"):
            next_due = min(max(job["due_at"], job["until"]) for job in jobs)
            self.environment.clock.advance_to(next_due)
            await self.service.worker.run_due()
        return number
