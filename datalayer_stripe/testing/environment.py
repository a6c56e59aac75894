"""What services under test stand on: a database, a local Stripe, a clock that stands still."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Self

from pydantic import BaseModel

from ..plugin_api.definition import Plugin
from ..plugin_api.loading import load_plugins
from ..plugin_api.registry import Registry
from ..sandbox.delivery.attempts import encode, sign
from ..service import Service, open_service
from ..settings import Settings
from ..store import Store
from ..stripe_api.client import StripeClient
from .clock import Clock
from .database import Database
from .recordings import objects_beside
from .shop import ShopSandbox

RECORDED_PLAN_PRODUCT = "prod_kW9tvt3Siuej3P"
"""The product of the subscriptions in the recorded events."""

_WEBHOOK_SECRET = "whsec_example"  # noqa: S105 (plainly no secret)
_JWT_SECRET = "only-for-tests-0123456789abcdef0123456789"  # noqa: S105 (the same)

PluginSettings = Mapping[str, BaseModel]


class Environment:
    """Use :meth:`open` and :meth:`close`, in the event loop of its services."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = Clock()
        # The same ids in each stage, so that two can be compared.
        self.sandbox = ShopSandbox(clock=lambda: self.clock().timestamp(), seed=0)
        self._told: dict[str, int] = {}

    @classmethod
    async def open(cls, database: Database) -> Self:
        """Start the local Stripe beside a database, which stays the caller's."""
        stage = cls(database)
        await stage.sandbox.start()
        return stage

    async def close(self) -> None:
        await self.sandbox.stop()

    async def open_service(
        self,
        plugins: Sequence[Plugin[Any]],
        plugin_settings: PluginSettings,
        *,
        store: Store | None = None,
        stripe: StripeClient | None = None,
    ) -> Service:
        """A service with exactly these plugins, which have been started.

        Raises PluginError for one that cannot start.
        """
        service = await open_service(
            self.settings,
            registry=Registry(plugins),
            plugin_settings=plugin_settings,
            clock=self.clock,
            store=store,
            stripe=stripe,
        )
        try:
            # Deferred work runs when the test says so: no worker is started.
            await service.lifespans.start()
        except BaseException:
            await service.close()
            raise
        return service

    @cached_property
    def settings(self) -> Settings:
        """The service's own."""
        return Settings(
            stripe_api_key=self.sandbox.secret_key,
            stripe_js_api_key=self.sandbox.publishable_key,
            stripe_topup_product_id=self.sandbox.topup_product,
            stripe_subscription_product_ids=f"{self.sandbox.plan_product},{RECORDED_PLAN_PRODUCT}",
            stripe_webhook_secrets=_WEBHOOK_SECRET,
            stripe_cust_portal_id="bpc_example",
            stripe_cust_portal_url="https://billing.example.com/p/login/test",
            stripe_mongodb_url=self.database.url,
            stripe_api_base=self.sandbox.url,
            jwt_secret=_JWT_SECRET,
        )

    def happen(self, event: Mapping[str, Any]) -> None:
        """Let Stripe know what an event tells of, and let it not be in the future.

        Of two events of one object the later one says how the object is now, in whatever order
        they are delivered. What the local Stripe has made itself, it knows best.
        """
        created = event["created"]
        self.clock.reach(datetime.fromtimestamp(created, UTC))
        for one in (*objects_beside(event), event["data"]["object"]):
            object_id = one.get("id")
            if not isinstance(object_id, str) or "object" not in one:
                continue  # such as a balance, which has no id
            told = self._told.get(object_id)
            known = told is not None or self.sandbox.has(object_id)
            if not known or (told is not None and told <= created):
                self.sandbox.put(one)
                self._told[object_id] = created


def built_in_plugins() -> list[Plugin[Any]]:
    return [plugin for plugin in load_plugins() if plugin.origin.kind == "built-in"]


def signed(event: Mapping[str, Any], at: datetime) -> tuple[bytes, str]:
    """The body of an event's delivery, and the Stripe-Signature header of that moment."""
    body = encode(dict(event))
    return body, sign(body, [_WEBHOOK_SECRET], int(at.timestamp()))
