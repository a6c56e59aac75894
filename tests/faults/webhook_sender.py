"""Deliver events as Stripe does: signed, until they are accepted, some twice, in any order.

https://docs.stripe.com/webhooks#event-delivery-behaviors
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from datalayer_stripe.sandbox import Sandbox
from tests.faults.cluster import wait_until
from tests.support.app import WEBHOOK_SECRET

_INITIAL_BACKOFF = 0.05  # seconds
_MAX_BACKOFF = 0.5  # seconds


@dataclass(order=True)
class _Copy:
    """One copy of an event that must be delivered. `order` is random."""

    order: float
    event_id: str = field(compare=False)
    backoff: float = field(default=_INITIAL_BACKOFF, compare=False)
    first_at: float | None = field(default=None, compare=False)


@dataclass
class WebhookSender:
    """Delivers the events of `types` to `url`.

    Attributes:
        sandbox: The local Stripe.
        url: The webhook endpoint.
        types: The event types.
        rng: Chooses the order, and the events that are sent twice.
        concurrency: The number of concurrent deliveries.
        duplicates: The share of events that are sent twice.
        outcomes: Counts the attempts: "accepted", the status of a refusal, or "no answer".
        outstanding: The number of copies that have not been accepted.
        slowest: The maximum seconds from the first attempt of a copy to its last.
    """

    sandbox: Sandbox
    url: str
    types: Collection[str]
    rng: random.Random
    concurrency: int = 32
    duplicates: float = 0.3
    outcomes: Counter[str] = field(default_factory=Counter)
    outstanding: int = 0
    slowest: float = 0.0
    _seen: int = 0
    _copies: asyncio.PriorityQueue[_Copy] = field(default_factory=asyncio.PriorityQueue)
    _workers: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> None:
        """Start to deliver."""
        self.sandbox.create_webhook_endpoint(self.url, WEBHOOK_SECRET, sorted(self.types))
        # The sandbox sends nothing by itself: `_deliver` calls its `deliver`.
        self.sandbox.webhooks.drop(10**9)
        self._workers = [asyncio.create_task(self._work()) for _ in range(self.concurrency)]

    async def stop(self) -> None:
        """Stop to deliver."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    def collect(self) -> None:
        """Enqueue the events that Stripe has made since the last call."""
        events, self._seen = self.sandbox.events[self._seen :], len(self.sandbox.events)
        for event in events:
            if event["type"] in self.types:
                for _ in range(1 + (self.rng.random() < self.duplicates)):
                    self.outstanding += 1
                    self._send(_Copy(self.rng.random(), event["id"]))

    async def wait_for_accepted(self, more: int) -> None:
        """Wait until this many more deliveries have been accepted."""
        goal = self.outcomes["accepted"] + more

        async def reached() -> bool:
            return self.outcomes["accepted"] >= goal

        await wait_until(reached, f"{more} deliveries are not accepted: {self.outcomes}")

    async def idle(self) -> None:
        """Wait until everything has been accepted."""

        async def done() -> bool:
            return not self.outstanding

        await wait_until(done, f"deliveries are not accepted: {self.outcomes}")

    def _send(self, copy: _Copy) -> None:
        self._copies.put_nowait(copy)

    async def _work(self) -> None:
        while True:
            await self._deliver(await self._copies.get())

    async def _deliver(self, copy: _Copy) -> None:
        copy.first_at = copy.first_at or time.monotonic()
        attempt = await self.sandbox.webhooks.deliver(copy.event_id)
        if attempt.succeeded:
            self.outcomes["accepted"] += 1
            self.outstanding -= 1
            self.slowest = max(self.slowest, time.monotonic() - copy.first_at)
            return
        self.outcomes[str(attempt.status or "no answer")] += 1
        # A shorter backoff than Stripe's; other copies are delivered in the meantime.
        asyncio.get_running_loop().call_later(copy.backoff, self._send, copy)
        copy.backoff = min(copy.backoff * 2, _MAX_BACKOFF)
