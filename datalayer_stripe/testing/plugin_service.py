"""A service with plugins under test, for a plain `def test`: deliver, and look what came of it."""

import asyncio
import json
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

from tornado.httpclient import AsyncHTTPClient

from ..app import Server, make_app
from ..errors import KitError
from ..plugin import Plugin
from ..plugin_loading import load_plugins
from ..service import Service
from .cuts import Gate, gated_store
from .database import Database, default_url
from .plugin_settings import GivenSettings, plugin_settings
from .recordings import checked
from .shop import ShopSandbox
from .stage import Stage, signed

T = TypeVar("T")

_ADDRESS = "127.0.0.1"
_WEBHOOK = "/api/iam/stripe/v1/webhook"
_SECONDS = 30
_SHUTDOWN_SECONDS = 1

# What plugins do at Stripe makes events, on which plugins may act again.
_ROUNDS = 20


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


class PluginService:
    """The real service on 127.0.0.1, with plugins, a database and a local Stripe of its own.

    A context manager, in an event loop of its own: no `async` is needed, and none is possible
    around it. Its clock stands still until :meth:`advance`.

    `settings` are one plugin's own: a mapping of field → value, or its model. Of several plugins
    they are by the plugin's name. `built_in` adds the built-in plugins. `mongodb_url` is
    `memory://`, or a replica set's, of which a database with a name of its own is used, and
    dropped at the end; by default it is what DATALAYER_STRIPE_TESTING_MONGODB_URL says.

    Raises KitError, SettingsError or PluginError, with what to do, when it cannot start.
    """

    def __init__(
        self,
        *plugins: Plugin[Any],
        settings: GivenSettings = None,
        built_in: bool = False,
        mongodb_url: str | None = None,
    ) -> None:
        self._settings = plugin_settings(plugins, settings)
        self._plugins = [*plugins, *(_built_in() if built_in else ())]
        self._mongodb_url = default_url() if mongodb_url is None else mongodb_url
        self._runner: asyncio.Runner | None = None
        self._closing = AsyncExitStack()
        self._delivered = 0

    def __enter__(self) -> Self:
        self._runner = own_runner("PluginService")
        try:
            self.run(self._open())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop everything, and drop the database."""
        if self._runner is not None:
            try:
                self._runner.run(self._closing.aclose())
            finally:
                self._runner.close()
                self._runner = None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the service's event loop, and return what it returns."""
        if self._runner is None:
            coroutine.close()
            raise KitError("This service is not open: write `with PluginService(plugin) as …:`.")
        return self._runner.run(coroutine)

    @property
    def sandbox(self) -> ShopSandbox:
        """The local Stripe that the service calls.

        What happens there makes events; :meth:`deliver_waiting` delivers them.
        """
        return self._stage.sandbox

    @property
    def now(self) -> datetime:
        """The time of the service and of its Stripe, in UTC."""
        return self._stage.clock()

    def advance(self, **parts: float) -> None:
        """Move the time on by `timedelta(**parts)`; renewals that fall due happen at Stripe."""
        self._stage.clock.advance(**parts)
        self.sandbox.advance(0)

    def deliver(self, event: Mapping[str, Any], *, sign: bool = True) -> Answer:
        """POST an event to the service as Stripe does, signed, or with a signature that is not.

        What the event tells of is made so at the local Stripe first. An answer of 503 is an
        answer. Raises KitError for what is no event.
        """
        checked(event, "what is delivered")
        self._stage.happen(event)
        return self.run(self._post(event, sign=sign))

    def deliver_waiting(self) -> list[Answer]:
        """Deliver what has happened at the local Stripe and was not delivered yet, in its order.

        Only events that a plugin is for, as it is with a webhook endpoint; also those of what the
        plugins do at Stripe meanwhile.
        """
        answers: list[Answer] = []
        for _ in range(_ROUNDS):
            waiting = self.sandbox.events[self._delivered :]
            self._delivered += len(waiting)
            if not waiting:
                return answers
            answers += [
                self.run(self._post(event, sign=True))
                for event in waiting
                if event["type"] in self._service.registry.types
            ]
        raise KitError(f"What the plugins do at Stripe makes events without end: {_ROUNDS} rounds.")

    def run_deferred(self) -> int:
        """Run all deferred work to its end, and return how many jobs that were.

        What fails is run again after its pause, over which the clock is moved: nobody waits.
        """
        return self.run(self._run_deferred())

    def handled(self, event: Mapping[str, Any]) -> Mapping[str, Handled]:
        """How each plugin that was run on an event stands with it, by its name."""
        return self.run(self._handled(event["id"]))

    def documents(self, plugin: Plugin[Any]) -> list[dict[str, Any]]:
        """All documents of a plugin's own collection, by `_id`."""
        return self.run(self._database.documents(f"plugin_{plugin.name}"))

    def balance(self, account_uid: str) -> int:
        """The credits of an account."""
        return self.run(self._balance(account_uid))

    def ledger(self, account_uid: str) -> list[dict[str, Any]]:
        """The credit movements of an account as the ledger has them, by `_id`."""
        return self.run(self._database.documents("ledger", {"account_uid": account_uid}))

    def metric(self, plugin: Plugin[Any], name: str, **labels: str) -> float:
        """The value of a plugin's own metric, 0 where it was not used.

        `name` is that of `ctx.metrics`; of a histogram `…_count` or `…_sum`.
        """
        full = f"datalayer_stripe_plugin_{plugin.name.replace('-', '_')}_{name}"
        registry = self._service.metrics.registry
        for sample in (full, f"{full}_total"):
            if (value := registry.get_sample_value(sample, labels)) is not None:
                return value
        return 0.0

    async def _open(self) -> None:
        self._database = await Database.open(self._mongodb_url, processes=1)
        self._closing.push_async_callback(self._database.drop)
        self._stage = await Stage.open(self._database)
        self._closing.push_async_callback(self._stage.close)
        self._service: Service = await self._stage.open_service(
            self._plugins,
            self._settings,
            # Without a cut: so that the service leaves open what is to be dropped at the end.
            store=gated_store(self._database.store(0), Gate()),
        )
        self._closing.push_async_callback(self._service.close)
        server = Server(make_app(self._service), address=_ADDRESS, port=0)
        self._closing.push_async_callback(server.stop, seconds=_SHUTDOWN_SECONDS)
        self._url = f"http://{_ADDRESS}:{server.port}"
        self._http = AsyncHTTPClient(force_instance=True)
        self._closing.callback(self._http.close)
        self._delivered = len(self.sandbox.events)

    async def _post(self, event: Mapping[str, Any], *, sign: bool) -> Answer:
        body, signature = signed(event, self.now)
        if not sign:
            signature = f"{signature.partition(',')[0]},v1=00"
        response = await self._http.fetch(
            self._url + _WEBHOOK,
            method="POST",
            body=body,
            headers={"Content-Type": "application/json", "Stripe-Signature": signature},
            request_timeout=_SECONDS,
            raise_error=False,
        )
        fields = json.loads(response.body or b"{}")
        outcome = fields.get("outcome") or fields.get("code", "no answer")
        handled = await self._handled(event["id"])
        outcomes = {name: one.status for name, one in handled.items()}
        return Answer(response.code, outcome, outcomes)

    async def _handled(self, event_id: str) -> dict[str, Handled]:
        kept = await self._service.store.events.get(event_id)
        runs = kept.handlers if kept else {}
        return {name: Handled(run.status, run.error, run.attempts) for name, run in runs.items()}

    async def _balance(self, account_uid: str) -> int:
        return (await self._service.store.accounts.get(account_uid)).credits

    async def _run_deferred(self) -> int:
        begun = len(await self._database.documents("jobs"))
        await self._service.worker.run_due()
        while waiting := await self._database.documents("jobs"):
            self._stage.clock.reach(min(max(job["due_at"], job["until"]) for job in waiting))
            await self._service.worker.run_due()
        return begun


def own_runner(who: str) -> asyncio.Runner:
    """An event loop of one's own. Raises KitError where one runs in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        # A given factory leaves the thread's current event loop as it is.
        return asyncio.Runner(loop_factory=asyncio.new_event_loop)
    raise KitError(
        f"{who} has an event loop of its own, and one runs here: write a plain `def test`, "
        "not `async def`."
    )


def _built_in() -> list[Plugin[Any]]:
    return [plugin for plugin in load_plugins() if plugin.origin.kind == "built-in"]
