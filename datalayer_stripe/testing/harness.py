"""What stands behind a `PluginService`, in its event loop: the service, its server, its parts."""

import json
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Self

from tornado.httpclient import AsyncHTTPClient

from ..app import Server, make_app
from ..handlers.urls import WEBHOOK_PATH
from ..plugin_api.definition import Plugin
from ..service import Service
from .database import Database
from .environment import Environment, PluginSettings, signed
from .faults import Gate, gated_store

_ADDRESS = "127.0.0.1"
_SECONDS = 30
_SHUTDOWN_SECONDS = 1


@dataclass(frozen=True)
class Handled:
    """How a plugin stands with an event.

    `status` is "done", "deferred", "failed" or "rejected"; `reason` is why, for the latter two;
    `attempts` counts the runs that were kept.
    """

    status: str
    reason: str | None
    attempts: int


@dataclass(frozen=True)
class Answer:
    """The answer to a delivery.

    `status` is HTTP's: 200, or 503 when it is to be delivered again. `outcome` is "processed",
    "deferred", "duplicate", "ignored" or "rejected", or the code of an error, such as
    "delivery_failed". `outcomes` has how each plugin stands with the event now, by its name.
    """

    status: int
    outcome: str
    outcomes: Mapping[str, str]


@dataclass(frozen=True)
class Harness:
    """Use :meth:`open` and :meth:`close`."""

    database: Database
    stage: Environment
    service: Service
    _http: AsyncHTTPClient
    _url: str
    _closing: AsyncExitStack

    @classmethod
    async def open(
        cls, mongodb_url: str, plugins: Sequence[Plugin[Any]], plugin_settings: PluginSettings
    ) -> Self:
        """Start all of it. Raises StoreError or PluginError for what cannot start."""
        closing = AsyncExitStack()
        try:
            database = await Database.open(mongodb_url, processes=1)
            closing.push_async_callback(database.drop)
            stage = await Environment.open(database)
            closing.push_async_callback(stage.close)
            service = await stage.open_service(
                plugins,
                plugin_settings,
                # Without a cut: so that the service leaves open what is to be dropped at the end.
                store=gated_store(database.store(0), Gate()),
            )
            closing.push_async_callback(service.close)
            server = Server(make_app(service), address=_ADDRESS, port=0)
            closing.push_async_callback(server.stop, seconds=_SHUTDOWN_SECONDS)
        except BaseException:
            await closing.aclose()
            raise
        http = AsyncHTTPClient(force_instance=True)
        closing.callback(http.close)
        return cls(
            database,
            stage,
            service,
            http,
            f"http://{_ADDRESS}:{server.port}{WEBHOOK_PATH}",
            closing,
        )

    async def close(self) -> None:
        await self._closing.aclose()

    async def post(self, event: Mapping[str, Any], *, sign: bool = True) -> Answer:
        body, signature = signed(event, self.stage.clock())
        if not sign:
            signature = f"{signature.partition(',')[0]},v1=00"
        response = await self._http.fetch(
            self._url,
            method="POST",
            body=body,
            headers={"Content-Type": "application/json", "Stripe-Signature": signature},
            request_timeout=_SECONDS,
            raise_error=False,
        )
        fields = json.loads(response.body or b"{}")
        outcome = fields.get("outcome") or fields.get("code", "no answer")
        handled = await self.handled(event["id"])
        return Answer(response.code, outcome, {name: one.status for name, one in handled.items()})

    async def handled(self, event_id: str) -> dict[str, Handled]:
        kept = await self.service.store.events.get(event_id)
        runs = kept.handlers if kept else {}
        return {name: Handled(run.status, run.error, run.attempts) for name, run in runs.items()}

    async def balance(self, account_uid: str) -> int:
        return (await self.service.store.accounts.get(account_uid)).credits

    async def run_deferred(self) -> int:
        """Run all jobs to their end, moving the clock to when each is due; how many they were."""
        begun = len(await self.database.documents("jobs"))
        await self.service.worker.run_due()
        while waiting := await self.database.documents("jobs"):
            self.stage.clock.reach(min(max(job["due_at"], job["until"]) for job in waiting))
            await self.service.worker.run_due()
        return begun
