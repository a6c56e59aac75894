"""Build a service that uses a local Stripe: sandbox, settings, database and clock.

The test kit, the demo, the fault tests and the benchmarks build on :class:`Environment`.
"""

import secrets
from typing import Any

from ..clock import Clock, system_clock
from ..composition import open_service
from ..sandbox.delivery.attempts import sign
from ..service import Service
from ..settings import Settings
from .shop import ShopSandbox


class Environment:
    """A local Stripe with packages and a plan for sale, and services that use it.

    Call :meth:`start` and :meth:`stop` in the event loop of the services.

    Attributes:
        sandbox: The local Stripe.
        clock: The clock of the services.
    """

    def __init__(
        self,
        mongodb_url: str,
        *,
        clock: Clock = system_clock,
        sandbox: ShopSandbox | None = None,
        webhook_secret: str | None = None,
        jwt_secret: str | None = None,
    ) -> None:
        """Create the local Stripe.

        Args:
            mongodb_url: The database of the services; `memory://` keeps it in memory.
            clock: The clock of the services and of the local Stripe.
            sandbox: Replaces the local Stripe.
            webhook_secret: The secret that signs deliveries; by default a random one.
            jwt_secret: The secret that signs the accounts' tokens; by default a random one.
        """
        self.clock = clock
        self.sandbox = sandbox or ShopSandbox(clock=lambda: clock().timestamp())
        self._mongodb_url = mongodb_url
        self._webhook_secret = webhook_secret or f"whsec_{secrets.token_hex(16)}"
        self._jwt_secret = jwt_secret or secrets.token_hex(32)

    async def start(self, port: int = 0) -> None:
        """Start the local Stripe on 127.0.0.1; by default on a free port."""
        await self.sandbox.start(port)

    async def stop(self) -> None:
        """Stop the local Stripe."""
        await self.sandbox.stop()

    def settings(self, **changes: Any) -> Settings:
        """Return the settings of a service that uses the local Stripe, which must be started.

        Args:
            changes: Fields of :class:`.Settings` that replace those of the environment.
        """
        fields: dict[str, Any] = {
            "stripe_api_key": self.sandbox.secret_key,
            "stripe_js_api_key": self.sandbox.publishable_key,
            "stripe_topup_product_id": self.sandbox.topup_product,
            "stripe_subscription_product_ids": self.sandbox.plan_product,
            "stripe_webhook_secrets": self._webhook_secret,
            "stripe_cust_portal_id": "bpc_example",
            "stripe_cust_portal_url": "https://billing.example.com/p/login/test",
            "stripe_mongodb_url": self._mongodb_url,
            "stripe_api_base": self.sandbox.url,
            "stripe_requests_per_second": 10_000,  # the local Stripe has no limit
            "jwt_secret": self._jwt_secret,
        }
        return Settings(**{**fields, **changes})

    async def open_service(self, settings: Settings | None = None, **parts: Any) -> Service:
        """Build a service, without starting it.

        Args:
            settings: The settings; by default those of :meth:`settings`.
            parts: Further arguments of :func:`.open_service`, such as `registry`.

        Returns:
            The service, which the caller closes.

        Raises:
            StartError: The service cannot start.
            SettingsError: Settings of plugins are missing or not valid.
        """
        return await open_service(settings or self.settings(), clock=self.clock, **parts)

    def sign(self, body: bytes) -> str:
        """Return the `Stripe-Signature` header of a delivery's body at the present time."""
        return sign(body, [self._webhook_secret], int(self.clock().timestamp()))
