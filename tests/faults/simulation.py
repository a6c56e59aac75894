"""Simulate a small service: a local Stripe, two processes of the service on one database, accounts.

Nothing happens by itself: events wait to be delivered, the clock stands still between steps, and
ids are the same in each simulation.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from unittest.mock import patch

from datalayer_stripe.errors import DatalayerStripeError, RequestError
from datalayer_stripe.models import Identity
from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.sandbox import SandboxCardError
from datalayer_stripe.sandbox.api.versions import render_event
from datalayer_stripe.sandbox.delivery.attempts import encode
from datalayer_stripe.sandbox.engine.errors import StripeError
from datalayer_stripe.sandbox.shapes.thin_events import thin_event
from datalayer_stripe.service import Service
from datalayer_stripe.stripe_api.objects import id_of, invoice_subscription_id
from datalayer_stripe.testing.clock import Clock
from datalayer_stripe.testing.environment import Environment
from datalayer_stripe.testing.faults import FaultInjector
from datalayer_stripe.testing.shop import PACKAGES, ShopSandbox
from tests.faults.counting_plugin import CountingPlugin
from tests.faults.process import Process
from tests.faults.runner import SimulationRunner

ACCOUNTS = ("ada", "ben", "eve")
CREDITS = tuple(PACKAGES)

# A card, and whether its holder authenticates if the bank asks.
CARDS = {
    "good": ("4242424242424242", True),
    "declined": ("4000000000000002", True),
    "insufficient funds": ("4000000000009995", True),
    "3-D Secure": ("4000002760003184", True),
    "3-D Secure failed": ("4000002760003184", False),
}

# Each process gets events in the shape of another API version, as two endpoints do while one
# replaces the other.
API_VERSIONS = (None, "2024-06-20")

# Ahead of the MongoDB server's clock, which deletes old events.
_START = datetime(2100, 1, 31, 12, tzinfo=UTC)

# The store waits this long for a commit and for a call: less than the tests do.
_STORE_TIMEOUTS = {
    "datalayer_stripe.store.commit.COMMIT_SECONDS": 0.05,
    "datalayer_stripe.store.errors.CALL_SECONDS": 1.0,
}

# How often an event is delivered at the end, without faults, and how many concurrently.
_MAX_ATTEMPTS = 8
_CONCURRENT_DELIVERIES = 16

T = TypeVar("T")


class LawViolation(AssertionError):
    """The service has violated one of its laws, which are in docs/reliability.md."""


class Simulation:
    """A running simulation. Use :meth:`open` and :meth:`close`.

    Attributes:
        runner: The runner, whose database the service uses.
        sandbox: The local Stripe.
        clock: The clock of all processes, which :meth:`tick` moves.
        injector: Injects faults into the calls of the processes.
        counting: The plugin that counts its runs.
        counts: What happened, for the report.
        accepted: The ids of the events that were accepted.
        processes: The processes of the service.
    """

    registry: Registry

    def __init__(self, runner: SimulationRunner) -> None:
        self.runner = runner
        self.clock = Clock(frozen_at=_START)
        self.sandbox = ShopSandbox(clock=self.clock.timestamp, seed=0)
        self.injector = FaultInjector()
        self.counting = CountingPlugin()
        self.counts: Counter[str] = Counter()
        self.accepted: set[str] = set()
        self._sent: Counter[str] = Counter()
        self._thin = False
        self.processes: list[Process] = []
        self._environment = Environment(runner.url, clock=self.clock, sandbox=self.sandbox)
        self._patches = [patch(name, seconds) for name, seconds in _STORE_TIMEOUTS.items()]

    @classmethod
    async def open(
        cls, runner: SimulationRunner, *, counting: bool = True, thin: bool = False
    ) -> "Simulation":
        """Start the local Stripe and the processes.

        Args:
            runner: Runs the simulation.
            counting: Whether the counting plugin runs. Without it a delivery makes as many calls
                as in production.
            thin: Whether the deliveries of an event are in turn snapshot events and thin events,
                as if the account had a webhook endpoint and an event destination.
        """
        simulation = cls(runner)
        simulation._thin = thin
        for one in simulation._patches:
            one.start()
        await simulation._environment.start()
        simulation.sandbox.webhooks.hold()
        extra = simulation.counting.plugins if counting else ()
        simulation.registry = Registry((*Registry.load().plugins, *extra))
        for _ in API_VERSIONS:
            simulation.processes.append(await simulation.start_process())
        return simulation

    async def close(self) -> None:
        """Stop everything, and empty the database."""
        self.injector.clear()
        for process in self.processes:
            await process.stop()
        await self._environment.stop()
        for one in self._patches:
            one.stop()
        database = self.runner.database
        names = set(await database.list_collection_names()) - {"service"}
        await asyncio.gather(*(database[name].delete_many({}) for name in names))

    async def start_process(self) -> Process:
        """Start a process of the service."""
        return await Process.start(self._environment, self.registry, self.injector)

    # Actions of accounts and of Stripe

    async def request(
        self, account: str, work: Callable[[Service, Identity], Awaitable[T]]
    ) -> T | None:
        """Make a request of an account; return None if it is refused or interrupted."""
        process = self.processes[ACCOUNTS.index(account) % len(self.processes)]
        task = await process.run(work(process.service, Identity(account_uid=account)))
        self.counts["requests"] += 1
        if task.cancelled():
            return None
        error = task.exception()
        if isinstance(error, DatalayerStripeError):
            return None
        return task.result()

    async def reconcile(self, by: int) -> None:
        """Run the reconciliation of missed events in a process. It may be interrupted."""
        process = self.processes[by]
        since = self.clock() - timedelta(days=1)
        run = await process.run(process.service.reconciliation().run(since))
        self.counts["reconciliations"] += 1
        if not run.cancelled() and not isinstance(run.exception(), DatalayerStripeError):
            run.result()

    def pay(self, intent: str, card: str) -> None:
        """Pay a PaymentIntent in the browser, by its id or client secret."""
        number, authenticates = CARDS[card]
        try:
            paid = self.sandbox.confirm_payment(intent, number)
            if paid["status"] == "requires_action":
                paid = self.sandbox.authenticate(paid["id"], authenticates)
        except SandboxCardError:
            self.counts["cards_refused"] += 1
        except StripeError:
            return  # it is paid or canceled already
        else:
            refused = paid["status"] != "succeeded"
            self.counts["cards_refused" if refused else "payments"] += 1

    @property
    def paid_intents(self) -> list[dict[str, Any]]:
        """The paid PaymentIntents of packages, oldest first."""
        found = self.sandbox.backend.store.of_kind("payment_intent")
        paid = [one for one in found if one["status"] == "succeeded" and one["metadata"]]
        return paid[::-1]

    def reverse(self, work: Callable[[ShopSandbox], Any]) -> None:
        """Make or change a refund or a dispute, unless Stripe refuses it."""
        try:
            work(self.sandbox)
        except StripeError:
            return
        self.counts["reversals"] += 1

    def subscriptions(self, *statuses: str) -> list[dict[str, Any]]:
        """Return Stripe's subscriptions in one of these states, or all, oldest first."""
        page = self.sandbox.call("GET", "/v1/subscriptions", status="all", limit=100)
        found = [one for one in page["data"] if not statuses or one["status"] in statuses]
        return found[::-1]

    def is_subscribed(self, account: str) -> bool:
        """Return whether Stripe has an active subscription of the account."""
        active = self.subscriptions("active")
        return any(one["metadata"]["account_uid"] == account for one in active)

    def tick(self, seconds: float = 0.3) -> None:
        """Move the clock on, so that some events share their second and others do not."""
        self.clock.advance(seconds=seconds)

    # Deliveries

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events that a plugin runs on, newest first."""
        types = set(self.registry.types)
        return [event for event in reversed(self.sandbox.events) if event["type"] in types]

    @property
    def waiting(self) -> list[dict[str, Any]]:
        """Those of `events` that have not been accepted yet."""
        return [event for event in self.events if event["id"] not in self.accepted]

    def undelivered_subscriptions(self) -> set[str | None]:
        """Return the ids of the subscriptions with an event that has not been accepted yet."""
        objects = [event["data"]["object"] for event in self.waiting]
        return {id_of(one) for one in objects} | {invoice_subscription_id(one) for one in objects}

    async def deliver(self, event: dict[str, Any], to: int = 0) -> bool:
        """Deliver an event to a process with a valid signature; return whether it was accepted."""
        process = self.processes[to]
        if process.dead:
            return False
        self._sent[event["id"]] += 1
        # Half of the events are delivered as a thin event first.
        if self._thin and (self._sent[event["id"]] + ord(event["id"][-1])) % 2:
            body = encode(thin_event(event))
            self.counts["thin_deliveries"] += 1
        else:
            body = encode(render_event(self.sandbox.backend.store, event, API_VERSIONS[to]))
        signature = self._environment.sign(body)
        delivery = await process.run(process.service.deliveries.receive(body, signature))
        self.counts["deliveries"] += 1
        if not delivery.cancelled():
            error = delivery.exception()
            if error is None:
                if event["id"] in self.accepted:
                    self.counts["delivered_again"] += 1
                self.accepted.add(event["id"])
                return True
            if not isinstance(error, RequestError):
                raise error
            if error.status < 500:
                raise LawViolation(f"no loss: {event['type']} was answered {error.status}")
        self.counts["deliveries_refused_or_interrupted"] += 1
        return False

    async def deliver_all(self) -> None:
        """Deliver every event again, until it is accepted."""
        await self._deliver_until_accepted(list(self.sandbox.events))

    async def deliver_waiting(self) -> None:
        """Deliver the events that have not been accepted yet, until they are."""
        await self._deliver_until_accepted(self.waiting)

    async def _deliver_until_accepted(self, waiting: list[dict[str, Any]]) -> None:
        rng = random.Random(len(waiting))
        for _ in range(_MAX_ATTEMPTS):
            rng.shuffle(waiting)
            refused = []
            for start in range(0, len(waiting), _CONCURRENT_DELIVERIES):
                batch = waiting[start : start + _CONCURRENT_DELIVERIES]
                # The second process is the first: after a fault another process continues.
                answers = await asyncio.gather(
                    *(
                        self.deliver(event, (i + 1) % len(API_VERSIONS))
                        for i, event in enumerate(batch)
                    )
                )
                await self.settle()
                refused += [one for one, ok in zip(batch, answers, strict=True) if not ok]
            waiting = refused
            if not waiting:
                return
        types = sorted({event["type"] for event in waiting})
        raise LawViolation(f"no loss: refused {_MAX_ATTEMPTS} times without faults: {types}")

    async def settle(self) -> None:
        """End outages, wait for what still runs, and replace crashed processes."""
        self.injector.end_outages()
        for number, process in enumerate(self.processes):
            await process.settle()
            if process.dead:
                await process.stop()
                self.processes[number] = await self.start_process()
                self.counts["processes_replaced"] += 1
