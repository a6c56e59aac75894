"""Everything that may happen, at random: hypothesis looks for a story that breaks a law.

People subscribe, pay, are refused, cancel; their events are delivered to two processes of the
service in any order, doubled, at once or late; calls to MongoDB and Stripe are cut, deliveries are
cancelled, processes die. After each step the books must balance, and at the end every law must
hold: see `laws`.

A story that breaks a law is printed, as short as it can be made, as a script::

    state = Books()
    state.subscribe(account=0, card='good')
    state.cut(call=3, when='after', kind='crash')
    state.deliver(which=[0, 0], together=True)
    state.teardown()

To run it again save it as `story.py`, and run `python -m tests.faults.tell story.py`.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.faults import laws, report
from tests.faults.environment import Stage
from tests.faults.injection import CUTS, Cut, Kind, When
from tests.faults.world import ACCOUNTS, CARDS, World

who = st.integers(0, len(ACCOUNTS) - 1)
# Of the events that some plugin is for, counted from the newest.
some_events = st.lists(st.integers(0, 11), min_size=1, max_size=6)
when = st.sampled_from(["before", "after"])
kind = st.sampled_from([kind.value for kind in CUTS])


class Books(RuleBasedStateMachine):
    """The state machine. `stage` is where its worlds live.

    Its rules have no preconditions: hypothesis wants the same choices in each run, and which call
    a cut strikes is not the same in each run of what happens at once. A rule that finds nothing
    to do does nothing.
    """

    stage: ClassVar[Stage]
    section: ClassVar[str] = "model"  # of the report

    def __init__(self) -> None:
        super().__init__()
        self.world = self.stage.run(World.open(self.stage))
        self.intents: list[str] = []
        self.broken = False

    # People

    @rule(account=who, card=st.sampled_from(list(CARDS)))
    def subscribe(self, account: int, card: str) -> None:
        """Ask for a subscription, or for the pending one, and pay its first invoice."""
        plan = self.world.shop.plan
        started = self._ask(account, lambda service, who: service.plans.subscribe(who, plan))
        if started is not None:
            self._step(self._pay(started.client_secret, card))

    @rule(account=who, package=st.integers(0, 2), card=st.sampled_from([*CARDS, "later"]))
    def top_up(self, account: int, package: int, card: str) -> None:
        """Buy a package, and subscribe first where that is needed."""
        if not self.world.is_subscribed(ACCOUNTS[account]):
            self.subscribe(account, "good")
        price = self.world.shop.packages[package]
        started = self._ask(account, lambda service, who: service.checkout.start(who, price, None))
        if started is None:
            return
        self.intents.append(started.client_secret)
        if card != "later":
            self._step(self._pay(started.client_secret, card))

    @rule(which=st.integers(0, 5), card=st.sampled_from(list(CARDS)))
    def pay_again(self, which: int, card: str) -> None:
        """Come back to a top-up, which may have been paid already."""
        if self.intents:
            self._step(self._pay(self.intents[which % len(self.intents)], card))

    @rule(account=who, how=st.sampled_from(["cancel", "resume"]))
    def change(self, account: int, how: str) -> None:
        """Cancel at the period's end, or take that back."""
        self._ask(account, lambda service, who: getattr(service.plans, how)(who.account_uid))

    # Stripe

    @rule(which=st.integers(0, 2), fail=st.booleans())
    def renew(self, which: int, fail: bool) -> None:
        """End a subscription's period: bill the next one, in vain if `fail`."""
        if found := self._nth(which, "active", "past_due"):
            self._at_stripe(lambda stripe: stripe.renew(found["id"], fail=fail))

    @rule(which=st.integers(0, 2))
    def pay_invoice(self, which: int) -> None:
        """Pay what a failed renewal has left open."""
        if found := self._nth(which, "past_due"):
            self._at_stripe(lambda stripe: stripe.pay_invoice(found["latest_invoice"]))

    @rule(which=st.integers(0, 2))
    def cancel_now(self, which: int) -> None:
        """End a subscription in Stripe's dashboard."""
        if found := self._nth(which, "active", "past_due", "incomplete"):
            self._at_stripe(lambda stripe: stripe.cancel_subscription(found["id"]))

    @rule(nickname=st.sampled_from(["Basic", "Pro"]))
    def rename(self, nickname: str) -> None:
        """Give the plan's price another name."""
        plan = self.world.shop.plan
        self._at_stripe(lambda stripe: stripe.update_price(plan, nickname=nickname))

    @rule(which=st.integers(0, 5), amount=st.integers(1, 600))
    def refund(self, which: int, amount: int) -> None:
        """Refund a top-up, in part mostly."""
        if paid := self.world.paid:
            intent = paid[which % len(paid)]["id"]
            self._reverse(lambda stripe: stripe.refund(intent, amount))

    @rule(which=st.integers(0, 5))
    def fail_refund(self, which: int) -> None:
        """Let a refund fail that had succeeded."""
        if refund := self._made("refund", which):
            self._reverse(lambda stripe: stripe.settle_refund(refund, fail=True))

    @rule(which=st.integers(0, 5))
    def dispute(self, which: int) -> None:
        """Let a cardholder dispute a top-up."""
        if paid := self.world.paid:
            intent = paid[which % len(paid)]["id"]
            self._reverse(lambda stripe: stripe.dispute(intent))

    @rule(which=st.integers(0, 5), won=st.booleans())
    def decide(self, which: int, won: bool) -> None:
        """Let the bank decide a dispute, or change its mind."""
        if dispute := self._made("dispute", which):
            self._reverse(lambda stripe: stripe.close_dispute(dispute, won=won))

    # Deliveries and faults

    @rule(which=some_events, together=st.booleans())
    def deliver(self, which: list[int], together: bool) -> None:
        """Deliver some events, a few of them again, at once or in turn, to both processes."""
        if self.world.events:
            self._step(self._deliver(which, together))

    @rule()
    def deliver_waiting(self) -> None:
        """Deliver, at once, what has not been accepted yet."""
        self._step(self._deliver_at_once(self.world.waiting))

    @rule(which=some_events, call=st.integers(1, 25), when=when, kind=kind)
    def deliver_cut(self, which: list[int], call: int, when: When, kind: str) -> None:
        """Deliver some events at once, and cut the n-th call to MongoDB or Stripe meanwhile."""
        self.cut(call, when, kind)
        self.deliver(which, together=True)

    @rule(which=some_events)
    def reconcile(self, which: list[int]) -> None:
        """Let a process heal what was never delivered, while some of it is."""
        self._step(self._reconcile(which))

    @rule(which=st.integers(0, 11), call=st.integers(1, 8), when=when, renewed=st.booleans())
    def overtake(self, which: int, call: int, when: When, renewed: bool) -> None:
        """Let a delivery wait in its n-th call, until all others have been delivered.

        Meanwhile the oldest subscription may have been renewed.
        """
        if self.world.events:
            self._step(self._overtake(which, Cut(call, when, Kind.SLOW), renewed=renewed))

    @rule(call=st.integers(1, 25), when=when, kind=kind)
    def cut(self, call: int, when: When, kind: str) -> None:
        """Let the n-th call to MongoDB or Stripe from now on be cut."""
        self.world.faults.arm(Cut(call, when, Kind(kind)))

    @rule(runs=st.integers(1, 2))
    def stumble(self, runs: int) -> None:
        """Let a plugin fail in its next runs."""
        self.world.witness.stumbles = runs

    def teardown(self) -> None:
        """Deliver everything without further faults, and check every law."""
        try:
            if not self.broken:
                self.world.faults.disarm()
                self.world.witness.stumbles = 0
                self.stage.run(self._end())
        finally:
            self.stage.run(self.world.close())
            report.count(self.section, stories=1, **self.world.counts)
            struck = self.world.faults.struck
            report.count(self.section, **{f"cut_{name}": n for name, n in sorted(struck.items())})

    async def _end(self) -> None:
        await self.world.deliver_all()
        await laws.all_kept(self.world)

    # Steps

    def _ask(self, account: int, work: Any) -> Any:
        return self._step(self.world.ask(ACCOUNTS[account], work))

    def _nth(self, number: int, *statuses: str) -> dict[str, Any] | None:
        """One of Stripe's subscriptions in these states, if there is any."""
        found = self.world.subscriptions(*statuses)
        return found[number % len(found)] if found else None

    def _at_stripe(self, work: Any) -> None:
        async def happen() -> None:
            work(self.world.sandbox)

        self._step(happen())

    def _made(self, kind: str, number: int) -> str | None:
        """One of Stripe's refunds or disputes, if there is any."""
        found = list(self.world.sandbox.backend.store.of_kind(kind))
        return str(found[number % len(found)]["id"]) if found else None

    def _reverse(self, work: Any) -> None:
        self._at_stripe(lambda _: self.world.reverse(work))

    async def _pay(self, secret: str, card: str) -> None:
        self.world.pay(secret, card)

    async def _deliver(self, which: Sequence[int], together: bool) -> None:
        events = self.world.events
        chosen = [events[number % len(events)] for number in which]
        if together:
            await self._deliver_at_once(chosen)
            return
        for i, event in enumerate(chosen):
            await self.world.deliver(event, to=i % len(self.world.processes))

    async def _deliver_at_once(self, events: Sequence[dict[str, Any]]) -> None:
        numbered = enumerate(events)
        every = len(self.world.processes)
        work = asyncio.gather(*(self.world.deliver(event, to=i % every) for i, event in numbered))
        await laws.watch(self.world, work)
        await work

    async def _reconcile(self, which: Sequence[int]) -> None:
        events = self.world.events
        deliveries = [self.world.deliver(events[n % len(events)], to=1) for n in which if events]
        await asyncio.gather(self.world.reconcile(by=0), *deliveries)

    async def _overtake(self, which: int, cut: Cut, *, renewed: bool) -> None:
        world = self.world
        candidates = world.waiting or world.events
        event = candidates[which % len(candidates)]
        world.faults.arm(cut, world.processes[0].gate)
        slow = asyncio.create_task(world.deliver(event, to=0))
        waits = asyncio.create_task(world.faults.slow.wait())
        await asyncio.wait({slow, waits}, return_when=asyncio.FIRST_COMPLETED)
        waits.cancel()
        if renewed and (found := self._nth(0, "active", "past_due")):
            world.sandbox.renew(found["id"])
        others = (other for other in world.waiting if other is not event)
        await asyncio.gather(*(world.deliver(other, to=1) for other in others))
        world.faults.disarm(cut)
        await slow

    def _step(self, work: Coroutine[Any, Any, Any]) -> Any:
        async def step() -> Any:
            self.world.tick()
            done = await work
            await self.world.settle()
            await laws.books_balance(self.world)
            await laws.told_snapshots_are_stripes(self.world)
            return done

        self.world.counts["steps"] += 1
        try:
            return self.stage.run(step())
        except BaseException:
            self.broken = True  # what follows from it is no news
            raise
