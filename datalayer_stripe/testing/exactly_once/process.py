"""A simulated process of the service, whose calls can fail and which can crash."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Self

from ...errors import RequestError
from ...metrics import Metrics
from ...plugin_api.definition import Plugin
from ...service import Service
from ...stripe_api.client import StripeClient
from ...webhooks.observers import Observers
from ..faults import CallGate, Fault, FaultInjector
from ..gated_clients import gated_store, gated_stripe
from ..plugin_environment import PluginEnvironment, PluginSettings

# A job that still runs after this time hangs.
_JOB_TIMEOUT = 60  # seconds


class Process:
    """One of several processes in the same event loop. Use :meth:`open` and :meth:`close`."""

    def __init__(
        self,
        environment: PluginEnvironment,
        service: Service,
        stripe: StripeClient,
        gate: CallGate,
    ) -> None:
        self._environment = environment
        self._service = service
        self._stripe = stripe
        self.gate = gate

    @classmethod
    async def open(
        cls,
        environment: PluginEnvironment,
        number: int,
        plugins: Sequence[Plugin[Any]],
        plugin_settings: PluginSettings,
        fault: Fault | None = None,
    ) -> Self:
        """Start a service in the environment.

        Args:
            environment: The environment, which the processes share.
            number: The number of the process, from 0.
            plugins: The plugins of the service.
            plugin_settings: Their settings, by the plugin's name.
            fault: The fault of one of the process's calls, if any.

        Returns:
            The process, which the caller closes.
        """
        settings = environment.settings()
        stripe = StripeClient(
            settings.stripe_api_key.get_secret_value(),
            metrics=Metrics(),
            api_base=settings.stripe_api_base,
        )
        gate = CallGate(FaultInjector([fault] if fault else []))
        service = await environment.start_service(
            plugins,
            plugin_settings,
            store=gated_store(environment.database.store(number), gate),
            stripe=gated_stripe(stripe, gate),
        )
        return cls(environment, service, stripe, gate)

    async def close(self) -> None:
        """Stop the service."""
        await self._service.close()
        await self._stripe.close()

    @property
    def observers(self) -> Observers:
        """The observers of the service."""
        return self._service.observers

    @property
    def calls(self) -> list[str]:
        """The names of the calls to the database and to Stripe so far."""
        return self.gate.injector.calls

    async def deliver(self, event: Mapping[str, Any]) -> bool:
        """Deliver an event once. Call :meth:`settle` afterwards.

        Returns:
            Whether it was accepted.
        """
        body, signature = self._environment.signed(event)
        return await _succeeds(self._service.deliveries.receive(body, signature))

    async def settle(self) -> None:
        """Wait until no delivery is in flight, including those past their deadline."""
        await self._service.deliveries.idle()

    async def run_due(self) -> None:
        """Run the deferred jobs that are due. They may fail, and the process may crash."""
        await _succeeds(self._service.worker.run_due())
        # If the worker could not look for more jobs, those that it has started still run.
        await self._service.worker.stop(seconds=_JOB_TIMEOUT)


async def _succeeds(work: Awaitable[Any]) -> bool:
    """Return whether it returns, rather than being refused or ended by a crash."""
    task = asyncio.ensure_future(work)
    await asyncio.wait({task})
    if task.cancelled():
        return False
    error = task.exception()
    if error is not None and not isinstance(error, RequestError):
        raise error
    return error is None
