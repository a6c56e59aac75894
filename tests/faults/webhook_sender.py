"""Delivers events as Stripe does: signed, until they are taken, some twice, in any order.

https://docs.stripe.com/webhooks#event-delivery-behaviors
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from datalayer_stripe.sandbox import Sandbox
from tests.faults.cluster import until
from tests.support.app import WEBHOOK_SECRET

_INITIAL_BACKOFF = 0.05
_LONGEST_PAUSE = 0.5


@dataclass(order=True)
class _Parcel:
    """One copy of an event on its way. Parcels go in an order that says nothing."""

    order: float
    event_id: str = field(compare=False)
    pause: float = field(default=_INITIAL_BACKOFF, compare=False)
    first_at: float | None = field(default=None, compare=False)


@dataclass
class Courier:
    """Deliver the events of `types` to `url`, `width` at once; `doubled` is the share sent twice.

    Attributes:
        outcomes: the attempts: "taken", the status of a refusal, or "no answer".
        outstanding: how many copies have not been taken.
        slowest: the most seconds from a copy's first attempt to its last.
    """

    sandbox: Sandbox
    url: str
    types: Collection[str]
    rng: random.Random
    width: int = 32
    doubled: float = 0.3
    outcomes: Counter[str] = field(default_factory=Counter)
    outstanding: int = 0
    slowest: float = 0.0
    _seen: int = 0
    _parcels: asyncio.PriorityQueue[_Parcel] = field(default_factory=asyncio.PriorityQueue)
    _workers: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> None:
        self.sandbox.create_webhook_endpoint(self.url, WEBHOOK_SECRET, sorted(self.types))
        # The sandbox itself sends nothing: its `deliver`, which signs and sends, is called below.
        self.sandbox.webhooks.drop(10**9)
        self._workers = [asyncio.create_task(self._work()) for _ in range(self.width)]

    async def stop(self) -> None:
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    def collect(self) -> None:
        """Take on what has happened at Stripe since the last time."""
        events, self._seen = self.sandbox.events[self._seen :], len(self.sandbox.events)
        for event in events:
            if event["type"] in self.types:
                for _ in range(1 + (self.rng.random() < self.doubled)):
                    self.outstanding += 1
                    self._send(_Parcel(self.rng.random(), event["id"]))

    async def taken(self, more: int) -> None:
        """Wait until so many more have been taken."""
        goal = self.outcomes["taken"] + more

        async def reached() -> bool:
            return self.outcomes["taken"] >= goal

        await until(reached, f"no {more} deliveries get through: {self.outcomes}")

    async def idle(self) -> None:
        """Wait until everything has been taken."""

        async def done() -> bool:
            return not self.outstanding

        await until(done, f"deliveries do not get through: {self.outcomes}")

    def _send(self, parcel: _Parcel) -> None:
        self._parcels.put_nowait(parcel)

    async def _work(self) -> None:
        while True:
            await self._deliver(await self._parcels.get())

    async def _deliver(self, parcel: _Parcel) -> None:
        parcel.first_at = parcel.first_at or time.monotonic()
        attempt = await self.sandbox.webhooks.deliver(parcel.event_id)
        if attempt.succeeded:
            self.outcomes["taken"] += 1
            self.outstanding -= 1
            self.slowest = max(self.slowest, time.monotonic() - parcel.first_at)
            return
        self.outcomes[str(attempt.status or "no answer")] += 1
        # A shorter pause than Stripe's; another parcel goes meanwhile.
        asyncio.get_running_loop().call_later(parcel.pause, self._send, parcel)
        parcel.pause = min(parcel.pause * 2, _LONGEST_PAUSE)
