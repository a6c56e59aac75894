"""A service with plugins under test, for a plain `def test`."""

import asyncio
from collections.abc import Coroutine, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

from ..errors import KitError
from ..plugin_api.definition import Plugin
from .database import default_url
from .harness import DeliveryResponse, Harness, PluginStatus
from .loops import own_runner
from .plugin_environment import built_in_plugins
from .plugin_settings import GivenSettings, plugin_settings
from .recordings import checked
from .shop import ShopSandbox

T = TypeVar("T")

# Plugins' calls to Stripe make events, which may run plugins that call Stripe.
_MAX_ROUNDS = 20


class PluginService:
    """The real service on 127.0.0.1 with plugins, its own database and its own local Stripe.

    A context manager with its own event loop: use it in a plain function, without `async`. Its
    clock stands still until `advance`.
    """

    def __init__(
        self,
        *plugins: Plugin[Any],
        settings: GivenSettings = None,
        built_in: bool = False,
        mongodb_url: str | None = None,
    ) -> None:
        """Check the settings. The service starts when the context is entered.

        Args:
            plugins: The plugins of the service.
            settings: The plugin's settings: a mapping of field to value, or its model. With
                several plugins, a mapping of plugin name to those.
            built_in: Whether the built-in plugins run, too.
            mongodb_url: `memory://`, or the URL of a replica set. There the service uses a new
                database, which is dropped at the end. By default the value of
                `DATALAYER_STRIPE_TESTING_MONGODB_URL`, or `memory://`.

        Raises:
            KitError: The settings are not those of the plugins.
            SettingsError: A setting is missing or not valid.
        """
        self._settings = plugin_settings(plugins, settings)
        self._plugins = [*plugins, *(built_in_plugins() if built_in else ())]
        self._mongodb_url = default_url() if mongodb_url is None else mongodb_url
        self._runner: asyncio.Runner | None = None
        self._opened: Harness | None = None
        self._delivered = 0

    def __enter__(self) -> Self:
        """Start the service.

        Raises:
            KitError: An event loop runs in this thread already.
            PluginError: A plugin cannot start.
            StoreError: The database cannot be used.
        """
        self._runner = own_runner("PluginService")
        try:
            self._opened = self._runner.run(
                Harness.open(self._mongodb_url, self._plugins, self._settings)
            )
        except BaseException:
            self.close()
            raise
        # The events about the products and prices are not delivered.
        self._delivered = len(self.sandbox.events)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Call `close`."""
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
        """Run a coroutine in the service's event loop, and return its result.

        Args:
            coroutine: The coroutine.
        """
        if self._runner is None:
            coroutine.close()
            raise KitError(_NOT_OPEN)
        return self._runner.run(coroutine)

    @property
    def sandbox(self) -> ShopSandbox:
        """The local Stripe that the service calls.

        Its actions make events, which `deliver_waiting` delivers.
        """
        return self._harness.environment.sandbox

    @property
    def now(self) -> datetime:
        """The time of the service and of its Stripe, in UTC."""
        return self._harness.environment.clock()

    def advance(self, **parts: float) -> None:
        """Advance the time; renewals that become due happen at Stripe.

        Args:
            parts: The arguments of `timedelta`, such as `days=1`.

        Raises:
            ValueError: The step is negative.
        """
        if timedelta(**parts) < timedelta():
            raise ValueError("time only moves forward")
        self._harness.environment.clock.advance(**parts)
        self.sandbox.advance(0)

    def deliver(self, event: Mapping[str, Any], *, sign: bool = True) -> DeliveryResponse:
        """POST an event to the service as Stripe does.

        First the local Stripe is brought to the state that the event describes.

        Args:
            event: The event, as plain data.
            sign: Whether the signature is valid.

        Returns:
            The response. A response with an error status is returned, too.

        Raises:
            KitError: It is not an event of test mode.
        """
        harness = self._harness
        checked(event, "the event to deliver")
        harness.environment.apply(event)
        return self.run(harness.post(event, sign=sign))

    def deliver_waiting(self) -> list[DeliveryResponse]:
        """Deliver the events that the local Stripe has made since the last call, in their order.

        As at a webhook endpoint, only the event types that a plugin runs on are delivered. If
        plugins make more events, those are delivered, too.

        Returns:
            The responses, in the order of the deliveries.

        Raises:
            KitError: The plugins make events without end.
        """
        responses: list[DeliveryResponse] = []
        types = self._harness.service.registry.types
        for _ in range(_MAX_ROUNDS):
            waiting = self.sandbox.events[self._delivered :]
            if not waiting:
                return responses
            self._delivered += len(waiting)
            responses += [
                self.run(self._harness.post(event)) for event in waiting if event["type"] in types
            ]
        raise KitError(
            f"After {_MAX_ROUNDS} rounds of deliveries there are still new events: the plugins' "
            "calls to Stripe make events that run the plugins again."
        )

    def run_deferred(self) -> int:
        """Run all deferred jobs to their end.

        A job that fails is run again. The clock is advanced over the backoff, so the test does not
        wait.

        Returns:
            The number of jobs.
        """
        return self.run(self._harness.run_deferred())

    def plugin_statuses(self, event: Mapping[str, Any]) -> Mapping[str, PluginStatus]:
        """Return the status of each plugin that was run on an event, by its name.

        Args:
            event: The event, as plain data.
        """
        return self.run(self._harness.plugin_statuses(event["id"]))

    def documents(self, plugin: Plugin[Any]) -> list[dict[str, Any]]:
        """Return all documents of a plugin's own collection, in the order of their `_id`.

        Args:
            plugin: The plugin.
        """
        return self.run(self._harness.database.documents(f"plugin_{plugin.name}"))

    def balance(self, account_uid: str) -> int:
        """Return the credits of an account.

        Args:
            account_uid: The account's id.
        """
        return self.run(self._harness.balance(account_uid))

    def ledger(self, account_uid: str) -> list[dict[str, Any]]:
        """Return the ledger's rows of an account, in the order of their `_id`.

        Args:
            account_uid: The account's id.
        """
        return self.run(self._harness.database.documents("ledger", {"account_uid": account_uid}))

    def metric(self, plugin: Plugin[Any], name: str, **labels: str) -> float:
        """Return the value of a plugin's own metric; 0 if it was not used.

        Args:
            plugin: The plugin.
            name: The name in `ctx.metrics`; for a histogram, with `_count` or `_sum`.
            labels: The labels' values.
        """
        full = f"datalayer_stripe_plugin_{plugin.name.replace('-', '_')}_{name}"
        registry = self._harness.service.metrics.registry
        for sample in (full, f"{full}_total"):
            if (value := registry.get_sample_value(sample, labels)) is not None:
                return value
        return 0.0

    @property
    def _harness(self) -> Harness:
        if self._opened is None:
            raise KitError(_NOT_OPEN)
        return self._opened


_NOT_OPEN = "The service is not open. Write `with PluginService(plugin) as service:`."
