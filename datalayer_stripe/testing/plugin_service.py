"""A service with plugins under test, for a plain `def test`: deliver, and look what came of it."""

import asyncio
from collections.abc import Coroutine, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

from ..errors import KitError
from ..plugin_api.definition import Plugin
from .database import default_url
from .environment import built_in_plugins
from .harness import Answer, Handled, Harness
from .loops import own_runner
from .plugin_settings import GivenSettings, plugin_settings
from .recordings import checked
from .shop import ShopSandbox

T = TypeVar("T")

# What plugins do at Stripe makes events, on which plugins may act again.
_ROUNDS = 20


class PluginService:
    """The real service on 127.0.0.1, with plugins, a database and a local Stripe of its own.

    A context manager, in an event loop of its own: no `async` is needed, and none is possible
    around it. Its clock stands still until :meth:`advance`.

    `settings` are one plugin's own: a mapping of field → value, or its model. Of several plugins
    they are by the plugin's name. `built_in` adds the built-in plugins. `mongodb_url` is
    `memory://`, or a replica set's, of which a database with a name of its own is used, and
    dropped at the end; by default it is what DATALAYER_STRIPE_TESTING_MONGODB_URL says.

    Raises KitError, SettingsError, PluginError or StoreError, with what to do, when it cannot
    start.
    """

    def __init__(
        self,
        *plugins: Plugin[Any],
        settings: GivenSettings = None,
        built_in: bool = False,
        mongodb_url: str | None = None,
    ) -> None:
        self._settings = plugin_settings(plugins, settings)
        self._plugins = [*plugins, *(built_in_plugins() if built_in else ())]
        self._mongodb_url = default_url() if mongodb_url is None else mongodb_url
        self._runner: asyncio.Runner | None = None
        self._opened: Harness | None = None
        self._delivered = 0

    def __enter__(self) -> Self:
        self._runner = own_runner("PluginService")
        try:
            self._opened = self._runner.run(
                Harness.open(self._mongodb_url, self._plugins, self._settings)
            )
        except BaseException:
            self.close()
            raise
        self._delivered = len(self.sandbox.events)  # what is for sale is no news
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
        runner, opened = self._runner, self._opened
        self._runner = self._opened = None
        if runner is not None:
            with runner:
                if opened is not None:
                    runner.run(opened.close())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the service's event loop, and return what it returns."""
        if self._runner is None:
            coroutine.close()
            raise KitError(_NOT_OPEN)
        return self._runner.run(coroutine)

    @property
    def sandbox(self) -> ShopSandbox:
        """The local Stripe that the service calls.

        What happens there makes events; :meth:`deliver_waiting` delivers them.
        """
        return self._bench.stage.sandbox

    @property
    def now(self) -> datetime:
        """The time of the service and of its Stripe, in UTC."""
        return self._bench.stage.clock()

    def advance(self, **parts: float) -> None:
        """Move the time on by `timedelta(**parts)`; renewals that fall due happen at Stripe."""
        self._bench.stage.clock.advance(**parts)
        self.sandbox.advance(0)

    def deliver(self, event: Mapping[str, Any], *, sign: bool = True) -> Answer:
        """POST an event to the service as Stripe does, signed, or with a signature that is not.

        What the event tells of is made so at the local Stripe first. An answer of 503 is an
        answer. Raises KitError for what is no event.
        """
        bench = self._bench
        checked(event, "what is delivered")
        bench.stage.happen(event)
        return self.run(bench.post(event, sign=sign))

    def deliver_waiting(self) -> list[Answer]:
        """Deliver what has happened at the local Stripe and was not delivered yet, in its order.

        Only events that a plugin is for, as it is with a webhook endpoint; also those of what the
        plugins do at Stripe meanwhile.
        """
        answers: list[Answer] = []
        types = self._bench.service.registry.types
        for _ in range(_ROUNDS):
            waiting = self.sandbox.events[self._delivered :]
            if not waiting:
                return answers
            self._delivered += len(waiting)
            answers += [
                self.run(self._bench.post(event)) for event in waiting if event["type"] in types
            ]
        raise KitError(f"What the plugins do at Stripe makes events without end: {_ROUNDS} rounds.")

    def run_deferred(self) -> int:
        """Run all deferred work to its end, and return how many jobs that were.

        What fails is run again after its pause, over which the clock is moved: nobody waits.
        """
        return self.run(self._bench.run_deferred())

    def handled(self, event: Mapping[str, Any]) -> Mapping[str, Handled]:
        """How each plugin that was run on an event stands with it, by its name."""
        return self.run(self._bench.handled(event["id"]))

    def documents(self, plugin: Plugin[Any]) -> list[dict[str, Any]]:
        """All documents of a plugin's own collection, by `_id`."""
        return self.run(self._bench.database.documents(f"plugin_{plugin.name}"))

    def balance(self, account_uid: str) -> int:
        """The credits of an account."""
        return self.run(self._bench.balance(account_uid))

    def ledger(self, account_uid: str) -> list[dict[str, Any]]:
        """The credit movements of an account as the ledger has them, by `_id`."""
        return self.run(self._bench.database.documents("ledger", {"account_uid": account_uid}))

    def metric(self, plugin: Plugin[Any], name: str, **labels: str) -> float:
        """The value of a plugin's own metric, 0 where it was not used.

        `name` is that of `ctx.metrics`; of a histogram `…_count` or `…_sum`.
        """
        full = f"datalayer_stripe_plugin_{plugin.name.replace('-', '_')}_{name}"
        registry = self._bench.service.metrics.registry
        for sample in (full, f"{full}_total"):
            if (value := registry.get_sample_value(sample, labels)) is not None:
                return value
        return 0.0

    @property
    def _bench(self) -> Harness:
        if self._opened is None:
            raise KitError(_NOT_OPEN)
        return self._opened


_NOT_OPEN = "This service is not open: write `with PluginService(plugin) as service:`."
