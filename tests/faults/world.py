"""A small world to break: a local Stripe, two processes of the service on one database, accounts.

Nothing in it happens by itself: events wait to be delivered, time stands still between steps, and
identifiers are the same in each new world.
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
from datalayer_stripe.sandbox import Sandbox, SandboxCardError
from datalayer_stripe.sandbox.api.versions import render_event
from datalayer_stripe.sandbox.delivery.attempts import encode
from datalayer_stripe.sandbox.engine.errors import StripeError
from datalayer_stripe.service import Service
from datalayer_stripe.settings import Settings
from datalayer_stripe.stripe_api.objects import id_of, invoice_subscription_id
from tests.faults.counting_plugin import Witness
from tests.faults.environment import Stage
from tests.faults.injection import Faults
from tests.faults.process import Process
from tests.support.app import JWT_SECRET, WEBHOOK_SECRET, sign
from tests.support.shop import Shop

ACCOUNTS = ("ada", "ben", "eve")
CREDITS = (50, 220, 600)  # of the shop's packages

# A card, and whether its holder authenticates when asked.
CARDS = {
    "good": ("4242424242424242", True),
    "declined": ("4000000000000002", True),
    "poor": ("4000000000009995", True),
    "asks": ("4000002760003184", True),
    "asks in vain": ("4000002760003184", False),
}

# Each process gets the shape of another API version, as two endpoints do while one is replaced.
SHAPES = (None, "2024-06-20")

# How long what is in the way is waited for: the tests' own patience is shorter.
_BOUNDS = {
    "datalayer_stripe.store.commit.COMMIT_SECONDS": 0.05,
    "datalayer_stripe.store.errors.CALL_SECONDS": 1.0,
}

# How often an event is delivered at the end, without any fault, and how many at once.
_TRIES = 8
_AT_ONCE = 16

T = TypeVar("T")


class LawBroken(AssertionError):
    """The service has done what it must never do."""


class World:
    """Use :meth:`open`."""

    shop: Shop
    registry: Registry

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        # The same in each world, and ahead of MongoDB's own clock, which forgets old events.
        self.now = datetime(2100, 1, 31, 12, tzinfo=UTC)
        self.sandbox = Sandbox(clock=self.time, seed=0)
        self.faults = Faults()
        self.witness = Witness()
        self.counts: Counter[str] = Counter()
        self.accepted: set[str] = set()
        self.processes: list[Process] = []
        self._patches = [patch(name, seconds) for name, seconds in _BOUNDS.items()]

    @classmethod
    async def open(cls, stage: Stage, *, witness: bool = True) -> "World":
        """Open a world; without the witness a delivery is as many calls as in production."""
        world = cls(stage)
        for one in world._patches:
            one.start()
        await world.sandbox.start()
        world.sandbox.webhooks.hold()
        world.shop = Shop(world.sandbox)
        extra = world.witness.plugins if witness else ()
        world.registry = Registry((*Registry.load().plugins, *extra))
        for _ in SHAPES:
            world.processes.append(await world.start_process())
        return world

    async def close(self) -> None:
        """Stop everything, and leave the database empty."""
        self.faults.disarm()
        for process in self.processes:
            await process.stop()
        await self.sandbox.stop()
        for one in self._patches:
            one.stop()
        database = self.stage.database
        names = set(await database.list_collection_names()) - {"service"}
        await asyncio.gather(*(database[name].delete_many({}) for name in names))

    async def start_process(self) -> Process:
        settings = Settings(
            stripe_api_key=self.sandbox.secret_key,
            stripe_js_api_key=self.sandbox.publishable_key,
            stripe_topup_product_id=self.shop.topup_product,
            stripe_subscription_product_ids=self.shop.plan_product,
            stripe_webhook_secrets=WEBHOOK_SECRET,
            stripe_cust_portal_id="bpc_example",
            stripe_cust_portal_url="https://billing.example.com/p/login/test",
            stripe_mongodb_url=self.stage.url,
            stripe_api_base=self.sandbox.url,
            jwt_secret=JWT_SECRET,
        )
        return await Process.start(settings, self.registry, lambda: self.now, self.faults)

    # What people do

    async def ask(
        self, account: str, work: Callable[[Service, Identity], Awaitable[T]]
    ) -> T | None:
        """Let an account's owner ask the service for something; None when it is refused or cut."""
        process = self.processes[ACCOUNTS.index(account) % len(self.processes)]
        asked = await process.do(work(process.service, Identity(account_uid=account)))
        self.counts["requests"] += 1
        if asked.cancelled():
            return None
        error = asked.exception()
        if isinstance(error, DatalayerStripeError):
            return None
        return asked.result()

    async def reconcile(self, by: int) -> None:
        """Let a process look for what was never delivered; it may be cut."""
        process = self.processes[by]
        long_ago = self.now - timedelta(days=1)
        run = await process.do(process.service.reconciliation().run(long_ago))
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
            return  # paid or void already
        else:
            refused = paid["status"] != "succeeded"
            self.counts["cards_refused" if refused else "payments"] += 1

    @property
    def paid(self) -> list[dict[str, Any]]:
        """The paid PaymentIntents of packages, oldest first."""
        found = self.sandbox.backend.store.of_kind("payment_intent")
        paid = [one for one in found if one["status"] == "succeeded" and one["metadata"]]
        return paid[::-1]

    def reverse(self, work: Callable[[Sandbox], Any]) -> None:
        """Refund, dispute or decide, unless Stripe refuses it."""
        try:
            work(self.sandbox)
        except StripeError:
            return
        self.counts["reversals"] += 1

    def subscriptions(self, *statuses: str) -> list[dict[str, Any]]:
        """Stripe's subscriptions in one of these states, or all, oldest first."""
        page = self.sandbox.call("GET", "/v1/subscriptions", status="all", limit=100)
        found = [one for one in page["data"] if not statuses or one["status"] in statuses]
        return found[::-1]

    def is_subscribed(self, account: str) -> bool:
        """Whether Stripe has an active subscription of the account."""
        active = self.subscriptions("active")
        return any(one["metadata"]["account_uid"] == account for one in active)

    def time(self) -> float:
        return self.now.timestamp()

    def tick(self, seconds: float = 0.3) -> None:
        """Let a little time pass: several events share their second, and some do not."""
        self.now += timedelta(seconds=seconds)

    # What Stripe delivers

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events that some plugin is for, newest first."""
        types = set(self.registry.types)
        return [event for event in reversed(self.sandbox.events) if event["type"] in types]

    @property
    def waiting(self) -> list[dict[str, Any]]:
        """Those of them that have not been accepted yet."""
        return [event for event in self.events if event["id"] not in self.accepted]

    def untold_subscriptions(self) -> set[str | None]:
        """The subscriptions of which some event has not been accepted yet."""
        objects = [event["data"]["object"] for event in self.waiting]
        return {id_of(one) for one in objects} | {invoice_subscription_id(one) for one in objects}

    async def deliver(self, event: dict[str, Any], to: int = 0) -> bool:
        """Deliver an event to a process, truly signed; whether it was accepted."""
        process = self.processes[to]
        if process.dead:
            return False
        body = encode(render_event(self.sandbox.backend.store, event, SHAPES[to]))
        signature = sign(body, at=self.time())
        delivery = await process.do(process.service.deliveries.receive(body, signature))
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
                raise LawBroken(f"no loss: {event['type']} was answered {error.status}")
        self.counts["deliveries_refused_or_cut"] += 1
        return False

    async def deliver_all(self) -> None:
        """Deliver every event once more, and again until it is accepted."""
        await self._deliver_until_accepted(list(self.sandbox.events))

    async def deliver_waiting(self) -> None:
        """Deliver what has not been accepted yet, and again until it is."""
        await self._deliver_until_accepted(self.waiting)

    async def _deliver_until_accepted(self, waiting: list[dict[str, Any]]) -> None:
        dice = random.Random(len(waiting))
        for _ in range(_TRIES):
            dice.shuffle(waiting)
            refused = []
            for start in range(0, len(waiting), _AT_ONCE):
                batch = waiting[start : start + _AT_ONCE]
                # The second process first: after a cut it is another one that goes on.
                answers = await asyncio.gather(
                    *(self.deliver(event, (i + 1) % len(SHAPES)) for i, event in enumerate(batch))
                )
                await self.settle()
                refused += [one for one, ok in zip(batch, answers, strict=True) if not ok]
            waiting = refused
            if not waiting:
                return
        types = sorted({event["type"] for event in waiting})
        raise LawBroken(f"no loss: refused {_TRIES} times without any fault: {types}")

    async def settle(self) -> None:
        """End outages, wait for what is under way, and replace the processes that have died."""
        self.faults.heal()
        for number, process in enumerate(self.processes):
            await process.settle()
            if process.dead:
                await process.stop()
                self.processes[number] = await self.start_process()
                self.counts["processes_replaced"] += 1
