"""Delivery of events to endpoints, with retries and simulated faults.

https://docs.stripe.com/webhooks#event-delivery-behaviors
"""

import asyncio
import random
from collections.abc import Coroutine, Sequence
from typing import Any, Literal

from tornado.httpclient import AsyncHTTPClient

from ..api.versions import render_event
from ..engine.backend import Backend
from ..resources.event_destinations import KIND, EventDestinations
from ..resources.webhook_endpoints import WebhookEndpoints
from ..shapes.objects import Object
from ..shapes.thin_events import thin_event
from .attempts import AttemptRecord, Delivery, encode, post, record

Order = Literal["sent", "reversed", "shuffled"]

# Stripe retries for three days. These retries end while a demo is still running.
DEFAULT_SCHEDULE = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
DEFAULT_TIMEOUT = 20.0


class Webhooks:
    """Sends each event to the endpoints that are subscribed to it.

    An event destination is an endpoint, too. It receives the event's thin event.

    Attributes:
        attempts: the records of all attempts, oldest first.
        schedule: the seconds before each retry; their number is the maximum number of retries.
        timeout: seconds within which an endpoint must answer.

    Args:
        backend: the sandbox's state.
        endpoints: the endpoints and their secrets.
        destinations: the event destinations and their secrets.
        schedule: the seconds before each retry.
        timeout: seconds within which an endpoint must answer.
    """

    def __init__(
        self,
        backend: Backend,
        endpoints: WebhookEndpoints,
        destinations: EventDestinations,
        *,
        schedule: Sequence[float] = DEFAULT_SCHEDULE,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        self._backend = backend
        self._endpoints = endpoints
        self._destinations = destinations
        self.schedule = tuple(schedule)
        self.timeout = timeout
        self.attempts: list[AttemptRecord] = []
        self._pending: dict[str, set[str]] = {}
        self._waiting: list[Delivery] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: AsyncHTTPClient | None = None
        self._holding = False
        self._gather: float | None = None
        self._seed: int | None = None
        self._copies = 1
        self._delay = 0.0
        self._drops = 0
        self._refusals = 0
        backend.on_event(self._send)

    async def start(self) -> None:
        """Open the HTTP client and send the events that were created before."""
        self._loop = asyncio.get_running_loop()
        self._client = AsyncHTTPClient(force_instance=True, max_clients=100)
        if not self._holding:
            self.release()

    async def stop(self) -> None:
        """Cancel pending deliveries and close the HTTP client."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._client is not None:
            self._client.close()
        self._client = self._loop = None

    @property
    def held(self) -> int:
        """The number of deliveries that are held back."""
        return len(self._waiting)

    @property
    def faults(self) -> dict[str, Any]:
        """The simulated faults of the following deliveries, as the panel shows them."""
        return {
            "copies": self._copies,
            "drops": self._drops,
            "held": self.held,
            "holding": self._holding,
        }

    def duplicate(self, times: int = 1) -> None:
        """Deliver each following event `times` additional times."""
        self._copies = 1 + times

    def hold(self) -> None:
        """Hold back all deliveries until `release` is called."""
        self._holding = True

    def release(self, order: Order = "sent", seed: int | None = None) -> int:
        """Send the held deliveries one after another, and stop holding deliveries back.

        Args:
            order: the order of the first attempts.
            seed: makes `shuffled` reproducible.

        Returns:
            The number of deliveries that were released.
        """
        self._holding = False
        if self._loop is None:
            return 0  # `start` sends them
        deliveries, self._waiting = self._waiting, []
        if order == "reversed":
            deliveries.reverse()
        elif order == "shuffled":
            random.Random(seed).shuffle(deliveries)  # noqa: S311 - no secret
        if deliveries:
            self._launch(self._deliver_in_turn(deliveries))
        return len(deliveries)

    def reorder(self, gather: float = 0.05, seed: int | None = None) -> None:
        """Collect the following deliveries for a while and send them in random order.

        Args:
            gather: the seconds to collect deliveries.
            seed: makes the order reproducible.
        """
        self._gather, self._seed = gather, seed

    def delay(self, seconds: float) -> None:
        """Wait some seconds before the first attempt of each following delivery."""
        self._delay = seconds

    def drop(self, n: int) -> None:
        """Drop the next `n` deliveries: they are neither sent nor retried, and stay pending."""
        self._drops = n

    def refuse(self, n: int) -> None:
        """Record a 500 for the next `n` attempts without sending them; they are retried."""
        self._refusals = n

    def normal(self) -> None:
        """Remove all simulated faults, and release the held deliveries."""
        self._copies, self._delay, self._drops, self._refusals = 1, 0.0, 0, 0
        self._gather = self._seed = None
        self.release()

    async def settle(self, timeout: float = 30.0) -> None:  # noqa: ASYNC109 - part of the public API
        """Wait until each delivery has succeeded, has no retries left, or is held back.

        Args:
            timeout: the maximum time to wait, in seconds.

        Raises:
            TimeoutError: a delivery is still in progress after `timeout` seconds.
        """
        async with asyncio.timeout(timeout):
            while self._tasks:
                await asyncio.wait(set(self._tasks))

    async def deliver(self, event_id: str, endpoint_id: str | None = None) -> AttemptRecord:
        """Send an event again now, and return the record of the attempt.

        Args:
            event_id: `evt_…`.
            endpoint_id: `we_…` or `ed_…`; None: the oldest one that is subscribed to the event.

        Raises:
            StripeError: there is no such event.
            LookupError: no such endpoint is subscribed to the event.
        """
        event = self._backend.store.get("event", event_id)
        for endpoint in self._subscribed_to(event):
            if endpoint_id in (None, endpoint["id"]):
                return await self._attempt(Delivery(event, endpoint))
        raise LookupError("no enabled webhook endpoint is subscribed to this event")

    def _send(self, event: Object) -> None:
        endpoints = self._subscribed_to(event)
        event["pending_webhooks"] = len(endpoints)
        self._pending[event["id"]] = {endpoint["id"] for endpoint in endpoints}
        for endpoint in endpoints:
            if self._drops:
                self._drops -= 1
                continue
            for _ in range(self._copies):
                self._enqueue(Delivery(event, endpoint))

    def _enqueue(self, delivery: Delivery) -> None:
        if self._loop is None or self._holding:
            self._waiting.append(delivery)
        elif self._gather is not None:
            if not self._waiting:
                self._launch(self._release_gathered(self._gather))
            self._waiting.append(delivery)
        else:
            self._launch(self._deliver(delivery))

    async def _release_gathered(self, gather: float) -> None:
        await asyncio.sleep(gather)
        if not self._holding:
            self.release("shuffled", self._seed)

    def _launch(self, work: Coroutine[Any, Any, None]) -> None:
        if self._loop is None:
            raise RuntimeError("the sandbox is not started: call start() first")
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver_in_turn(self, deliveries: list[Delivery]) -> None:
        for delivery in filter(lambda one: self._endpoints.is_enabled(one.endpoint), deliveries):
            if not (await self._attempt(delivery)).succeeded:
                self._launch(self._retry(delivery))

    async def _deliver(self, delivery: Delivery) -> None:
        if self._delay:
            await asyncio.sleep(self._delay)
        if not (await self._attempt(delivery)).succeeded:
            await self._retry(delivery)

    async def _retry(self, delivery: Delivery) -> None:
        for pause in self.schedule:
            await asyncio.sleep(pause)
            # A disabled or deleted endpoint gets no retry: https://docs.stripe.com/webhooks#retries.
            if not self._endpoints.is_enabled(delivery.endpoint):
                return
            if (await self._attempt(delivery)).succeeded:
                return

    async def _attempt(self, delivery: Delivery) -> AttemptRecord:
        at = self._backend.clock.real()
        if self._client is None:
            raise RuntimeError("the sandbox is not started: call start() first")
        if self._refusals:
            self._refusals -= 1
            delivery.attempts += 1
            outcome = record(delivery, at, status=500, body="simulated by the sandbox")
        else:
            body, secrets = self._body(delivery), self._secrets(delivery.endpoint)
            outcome = await post(
                self._client, delivery, encode(body), secrets, at=at, timeout=self.timeout
            )
        self.attempts.append(outcome)
        if outcome.succeeded:
            self._mark_delivered(delivery)
        return outcome

    def _subscribed_to(self, event: Object) -> list[Object]:
        return [
            *self._endpoints.subscribed_to(event),
            *self._destinations.subscribed_to(event),
        ]

    def _secrets(self, endpoint: Object) -> list[str]:
        if endpoint["object"] == KIND:
            return self._destinations.secrets(endpoint)
        return self._endpoints.secrets(endpoint)

    def _body(self, delivery: Delivery) -> Object:
        if delivery.is_thin:
            return thin_event(delivery.event)
        version = delivery.endpoint["api_version"]
        return render_event(self._backend.store, delivery.event, version)

    def _mark_delivered(self, delivery: Delivery) -> None:
        pending = self._pending.get(delivery.event["id"])
        if pending is not None:
            pending.discard(delivery.endpoint["id"])
            delivery.event["pending_webhooks"] = len(pending)
