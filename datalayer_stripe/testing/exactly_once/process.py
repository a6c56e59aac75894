"""A process of the service for one scenario of events: it can be cut at any call, and die there."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Self

from ...errors import RequestError
from ...metrics import Metrics
from ...plugin_api.definition import Plugin
from ...service import Service
from ...stripe_api.client import StripeClient
from ..environment import Environment, PluginSettings, signed
from ..faults import Cut, Gate, gated_store, gated_stripe

# What is still running then has hung.
_RUN_SECONDS = 60


class Process:
    """Use :meth:`open`. Several live in one event loop; one that has died is replaced."""

    def __init__(
        self, stage: Environment, service: Service, stripe: StripeClient, gate: Gate
    ) -> None:
        self._stage = stage
        self._service = service
        self._stripe = stripe
        self.gate = gate

    @classmethod
    async def open(
        cls,
        stage: Environment,
        number: int,
        plugins: Sequence[Plugin[Any]],
        plugin_settings: PluginSettings,
        cut: Cut | None = None,
    ) -> Self:
        settings = stage.settings
        stripe = StripeClient(
            settings.stripe_api_key.get_secret_value(),
            metrics=Metrics(),
            api_base=settings.stripe_api_base,
        )
        gate = Gate(cut)
        service = await stage.open_service(
            plugins,
            plugin_settings,
            store=gated_store(stage.database.store(number), gate),
            stripe=gated_stripe(stripe, gate),
        )
        return cls(stage, service, stripe, gate)

    async def close(self) -> None:
        await self._service.close()
        await self._stripe.close()

    async def deliver(self, event: Mapping[str, Any]) -> bool:
        """Deliver an event once, signed; whether it was accepted. Then :meth:`settle`."""
        body, signature = signed(event, self._stage.clock())
        return await _survived(self._service.deliveries.receive(body, signature))

    async def settle(self) -> None:
        """Return when no delivery is under way, of those that were answered late or cut either."""
        await self._service.deliveries.idle()

    async def run_due(self) -> None:
        """Run the deferred work that is due; it may fail, or be cut."""
        await _survived(self._service.worker.run_due())
        # Where looking for more was cut, what runs already goes on.
        await self._service.worker.stop(seconds=_RUN_SECONDS)


async def _survived(work: Awaitable[Any]) -> bool:
    """Whether something came to its end, and not to a refusal or to the process's death."""
    task = asyncio.ensure_future(work)
    await asyncio.wait({task})
    if task.cancelled():
        return False
    error = task.exception()
    if error is not None and not isinstance(error, RequestError):
        raise error
    return error is None
