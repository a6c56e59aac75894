"""The environment of plugins under test: recorded events, and a clock that stands still."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Self

from pydantic import BaseModel

from ..plugin_api.definition import Plugin
from ..plugin_api.loading import load_plugins
from ..plugin_api.registry import Registry
from ..sandbox.delivery.attempts import encode
from ..service import Service
from ..settings import Settings
from ..store import Store
from ..stripe_api.client import StripeClient
from .clock import Clock
from .database import Database
from .environment import Environment
from .recordings import referenced_objects
from .shop import ShopSandbox

RECORDED_PLAN_PRODUCT = "prod_kW9tvt3Siuej3P"
"""The product of the subscriptions in the recorded events."""

PluginSettings = Mapping[str, BaseModel]
"""The settings of each plugin, by its name."""


class PluginEnvironment(Environment):
    """An environment that can be compared with another one: its clock and ids are the same.

    Use :meth:`open` and :meth:`stop`, in the event loop of its services.
    """

    clock: Clock

    def __init__(self, database: Database) -> None:
        """Create the local Stripe.

        Args:
            database: The database of the services, which the caller drops.
        """
        clock = Clock()
        super().__init__(
            database.url, clock=clock, sandbox=ShopSandbox(clock=clock.timestamp, seed=0)
        )
        self.database = database
        self._applied: dict[str, int] = {}

    @classmethod
    async def open(cls, database: Database) -> Self:
        """Create an environment, and start its local Stripe."""
        environment = cls(database)
        await environment.start()
        return environment

    def settings(self, **changes: Any) -> Settings:
        """Return the settings of a service that also knows the plan of the recorded events."""
        products = f"{self.sandbox.plan_product},{RECORDED_PLAN_PRODUCT}"
        return super().settings(**{"stripe_subscription_product_ids": products, **changes})

    async def start_service(
        self,
        plugins: Sequence[Plugin[Any]],
        plugin_settings: PluginSettings,
        *,
        store: Store | None = None,
        stripe: StripeClient | None = None,
    ) -> Service:
        """Build a service with exactly these plugins, and open their lifespans.

        Args:
            plugins: The plugins.
            plugin_settings: Their settings.
            store: Replaces the store of the service.
            stripe: Replaces the Stripe client of the service.

        Returns:
            The service, which the caller closes. Its worker is not started: a test decides when
            deferred jobs run.

        Raises:
            PluginError: A plugin cannot start.
        """
        service = await self.open_service(
            registry=Registry(plugins), plugin_settings=plugin_settings, store=store, stripe=stripe
        )
        try:
            await service.lifespans.start()
        except BaseException:
            await service.close()
            raise
        return service

    def apply(self, event: Mapping[str, Any]) -> None:
        """Bring the local Stripe to the state that an event describes, and the clock to its time.

        Of several events about one object, the latest decides the object's state, in whatever
        order they are applied. An object that the local Stripe has created itself is not changed.

        Args:
            event: The event, as plain data.
        """
        created = event["created"]
        self.clock.advance_to(datetime.fromtimestamp(created, UTC))
        for stripe_object in (*referenced_objects(event), event["data"]["object"]):
            object_id = stripe_object.get("id")
            if not isinstance(object_id, str) or "object" not in stripe_object:
                continue  # such as a balance, which has no id
            applied_at = self._applied.get(object_id)
            if applied_at is None and self.sandbox.has(object_id):
                continue
            if applied_at is None or applied_at <= created:
                self.sandbox.put(stripe_object)
                self._applied[object_id] = created

    def signed(self, event: Mapping[str, Any]) -> tuple[bytes, str]:
        """Return the body of an event's delivery, and its `Stripe-Signature` header."""
        body = encode(dict(event))
        return body, self.sign(body)


def built_in_plugins() -> list[Plugin[Any]]:
    """Return the plugins that the package itself installs."""
    return [plugin for plugin in load_plugins() if plugin.origin.kind == "built-in"]
