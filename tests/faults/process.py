"""A simulated process of the service, whose calls can fail and which can crash at any call."""

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import Any
from unittest.mock import patch

from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.service import Service
from datalayer_stripe.store.connect import DRIVERS, Driver
from datalayer_stripe.store.driver import call_directly
from datalayer_stripe.testing.environment import Environment
from datalayer_stripe.testing.faults import FaultInjector
from tests.faults.boundary import DriverGate, GatedClient, GatedHTTPClient
from tests.support.database import DRIVER


class Process:
    """One of several processes that share only an event loop. Use :meth:`start`."""

    service: Service

    def __init__(self, injector: FaultInjector) -> None:
        self.gate = DriverGate(injector, on_cancel=self._cancel, on_crash=self._cancel)
        self._tasks: set[asyncio.Task[Any]] = set()

    @classmethod
    async def start(
        cls, environment: Environment, registry: Registry, injector: FaultInjector
    ) -> "Process":
        """Build a service in the environment, whose calls go through the process's gate."""
        process = cls(injector)
        classes = DRIVERS[DRIVER]
        driver = Driver(
            partial(GatedClient, process.gate, classes.client),
            partial(GatedClient, process.gate, classes.plugin_client),
            call_directly,  # the gate waits on the event loop, which a thread cannot do
        )
        transport = partial(GatedHTTPClient, process.gate)
        settings = environment.settings(stripe_mongodb_driver=DRIVER)
        with (
            patch.dict(DRIVERS, {DRIVER: driver}),
            patch("stripe.AIOHTTPClient", transport),
        ):
            process.service = await environment.open_service(settings, registry=registry)
        process.gate.enabled = True
        return process

    @property
    def dead(self) -> bool:
        """Whether the process has crashed."""
        return self.gate.dead

    async def run(self, work: Awaitable[Any]) -> asyncio.Task[Any]:
        """Run something in this process, and return its task when it has ended in any way."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        await asyncio.wait({task})
        self._tasks.discard(task)
        return task

    async def settle(self) -> None:
        """Wait until nothing runs any more, in the process or for it at the server."""
        while busy := self._busy():
            await asyncio.wait(busy)

    async def stop(self) -> None:
        """Wait for what runs, and close the service."""
        await self.settle()
        # The server ends the sessions that a crashed process has left open.
        for session in self.gate.sessions:
            await session.raw.end_session()
        await self.service.close()

    def _cancel(self) -> None:
        """Cancel everything that runs."""
        for task in self._tasks | self._in_service():
            task.cancel()

    def _busy(self) -> set[asyncio.Task[Any]]:
        committer = self.service.store._committer
        return self._tasks | self._in_service() | committer.running_tasks | self.gate.abandoned

    def _in_service(self) -> set[asyncio.Task[Any]]:
        return self.service.deliveries._in_flight | self.service.worker._jobs
