"""A model of everything that may happen: hypothesis searches for a story that violates a law.

Accounts subscribe, pay, are declined and cancel. Their events are delivered to two processes of
the service as snapshot events and as thin events, in any order, duplicated, concurrently or late.
Calls to MongoDB and Stripe fail, deliveries are cancelled, and processes crash. After each step the
balances must match the ledger, and at the end every law must hold: see `laws`.

A story that violates a law is printed as a short script::

    state = ServiceModel()
    state.subscribe(account=0, card='good')
    state.inject_fault(call=3, when='after', kind='crash')
    state.deliver(which=[0, 0], concurrently=True)
    state.teardown()

To run it again, save it as `story.py` and run `python -m tests.faults.replay_story story.py`.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from datalayer_stripe.testing.faults import INTERRUPTING_KINDS, WHENS, Fault, FaultKind, When
from tests.faults import laws, report
from tests.faults.runner import SimulationRunner
from tests.faults.simulation import ACCOUNTS, CARDS, CREDITS, Simulation

who = st.integers(0, len(ACCOUNTS) - 1)
# Indices of the events that a plugin runs on, counted from the newest.
event_indices = st.lists(st.integers(0, 11), min_size=1, max_size=6)
when = st.sampled_from(WHENS)
kind = st.sampled_from([kind.value for kind in INTERRUPTING_KINDS])


class ServiceModel(RuleBasedStateMachine):
    """The state machine. Its simulations use `runner`.

    The rules have no preconditions, because hypothesis needs the same choices in each run, and
    with concurrent deliveries the call that fails is not the same in each run. A rule that cannot
    be applied does nothing.
    """

    runner: ClassVar[SimulationRunner]
    section: ClassVar[str] = "model"  # of the report

    def __init__(self) -> None:
        super().__init__()
        self.simulation = self.runner.run(Simulation.open(self.runner, thin=True))
        self.intents: list[str] = []
        self.has_failed = False

    # Accounts

    @rule(account=who, card=st.sampled_from(list(CARDS)))
    def subscribe(self, account: int, card: str) -> None:
        """Start a subscription, or continue a pending one, and pay its first invoice."""
        plan = self.simulation.sandbox.plan
        started = self._request(account, lambda service, who: service.plans.subscribe(who, plan))
        if started is not None:
            self._step(self._pay(started.client_secret, card))

    @rule(account=who, package=st.integers(0, 2), card=st.sampled_from([*CARDS, "later"]))
    def top_up(self, account: int, package: int, card: str) -> None:
        """Buy a package; subscribe first if the account has no subscription."""
        if not self.simulation.is_subscribed(ACCOUNTS[account]):
            self.subscribe(account, "good")
        price = self.simulation.sandbox.packages[CREDITS[package]]
        started = self._request(
            account, lambda service, who: service.checkout.start(who, price, None)
        )
        if started is None:
            return
        self.intents.append(started.client_secret)
        if card != "later":
            self._step(self._pay(started.client_secret, card))

    @rule(which=st.integers(0, 5), card=st.sampled_from(list(CARDS)))
    def pay_again(self, which: int, card: str) -> None:
        """Pay a top-up that may have been paid already."""
        if self.intents:
            self._step(self._pay(self.intents[which % len(self.intents)], card))

    @rule(account=who, how=st.sampled_from(["cancel", "resume"]))
    def change_subscription(self, account: int, how: str) -> None:
        """Cancel at the end of the period, or resume."""
        self._request(account, lambda service, who: getattr(service.plans, how)(who.account_uid))

    # Stripe

    @rule(which=st.integers(0, 2), fail=st.booleans())
    def renew(self, which: int, fail: bool) -> None:
        """Renew a subscription; `fail` declines the payment."""
        if found := self._nth(which, "active", "past_due"):
            self._at_stripe(lambda stripe: stripe.renew(found["id"], fail=fail))

    @rule(which=st.integers(0, 2))
    def pay_invoice(self, which: int) -> None:
        """Pay the invoice of a failed renewal."""
        if found := self._nth(which, "past_due"):
            self._at_stripe(lambda stripe: stripe.pay_invoice(found["latest_invoice"]))

    @rule(which=st.integers(0, 2))
    def cancel_now(self, which: int) -> None:
        """End a subscription in Stripe's dashboard."""
        if found := self._nth(which, "active", "past_due", "incomplete"):
            self._at_stripe(lambda stripe: stripe.cancel_subscription(found["id"]))

    @rule(nickname=st.sampled_from(["Basic", "Pro"]))
    def rename(self, nickname: str) -> None:
        """Rename the plan's price."""
        plan = self.simulation.sandbox.plan
        self._at_stripe(lambda stripe: stripe.update_price(plan, nickname=nickname))

    @rule(which=st.integers(0, 5), amount=st.integers(1, 600))
    def refund(self, which: int, amount: int) -> None:
        """Refund a top-up, usually in part."""
        if paid := self.simulation.paid_intents:
            intent = paid[which % len(paid)]["id"]
            self._reverse(lambda stripe: stripe.refund(intent, amount))

    @rule(which=st.integers(0, 5))
    def fail_refund(self, which: int) -> None:
        """Let a succeeded refund fail."""
        if refund := self._nth_of_kind("refund", which):
            self._reverse(lambda stripe: stripe.settle_refund(refund, fail=True))

    @rule(which=st.integers(0, 5))
    def dispute(self, which: int) -> None:
        """Let a cardholder dispute a top-up."""
        if paid := self.simulation.paid_intents:
            intent = paid[which % len(paid)]["id"]
            self._reverse(lambda stripe: stripe.dispute(intent))

    @rule(which=st.integers(0, 5), won=st.booleans())
    def decide(self, which: int, won: bool) -> None:
        """Let the bank decide a dispute, or change its decision."""
        if dispute := self._nth_of_kind("dispute", which):
            self._reverse(lambda stripe: stripe.close_dispute(dispute, won=won))

    # Deliveries and faults

    @rule(which=event_indices, concurrently=st.booleans())
    def deliver(self, which: list[int], concurrently: bool) -> None:
        """Deliver some events, concurrently or one after the other, to both processes."""
        if self.simulation.events:
            self._step(self._deliver(which, concurrently))

    @rule()
    def deliver_waiting(self) -> None:
        """Deliver concurrently the events that have not been accepted yet."""
        self._step(self._deliver_concurrently(self.simulation.waiting))

    @rule(which=event_indices, call=st.integers(1, 25), when=when, kind=kind)
    def deliver_with_fault(self, which: list[int], call: int, when: When, kind: str) -> None:
        """Deliver some events concurrently, and inject a fault into the n-th call meanwhile."""
        self.inject_fault(call, when, kind)
        self.deliver(which, concurrently=True)

    @rule(which=event_indices)
    def reconcile(self, which: list[int]) -> None:
        """Reconcile missed events in one process, while the other one gets some of them."""
        self._step(self._reconcile(which))

    @rule(which=st.integers(0, 11), call=st.integers(1, 8), when=when, renewed=st.booleans())
    def deliver_slowly(self, which: int, call: int, when: When, renewed: bool) -> None:
        """Let a delivery wait in its n-th call until all others have been delivered.

        In the meantime the oldest subscription may be renewed.
        """
        if self.simulation.events:
            fault = Fault(call, when, FaultKind.SLOW)
            self._step(self._deliver_slowly(which, fault, renewed=renewed))

    @rule(call=st.integers(1, 25), when=when, kind=kind)
    def inject_fault(self, call: int, when: When, kind: str) -> None:
        """Inject a fault into the n-th call to MongoDB or Stripe from now on."""
        self.simulation.injector.schedule(Fault(call, when, FaultKind(kind)))

    @rule(runs=st.integers(1, 2))
    def fail_plugin(self, runs: int) -> None:
        """Let the counting plugin fail in its next runs."""
        self.simulation.counting.failures_left = runs

    def teardown(self) -> None:
        """Deliver everything without faults, and check every law."""
        try:
            if not self.has_failed:
                self.simulation.injector.clear()
                self.simulation.counting.failures_left = 0
                self.runner.run(self._end())
        finally:
            self.runner.run(self.simulation.close())
            report.count(self.section, stories=1, **self.simulation.counts)
            injected = sorted(self.simulation.injector.injected.items())
            report.count(self.section, **{f"faults_{name}": n for name, n in injected})

    async def _end(self) -> None:
        await self.simulation.deliver_all()
        await laws.check_all(self.simulation)

    # Steps

    def _request(self, account: int, work: Any) -> Any:
        return self._step(self.simulation.request(ACCOUNTS[account], work))

    def _nth(self, number: int, *statuses: str) -> dict[str, Any] | None:
        """Return one of Stripe's subscriptions in these states, if there is any."""
        found = self.simulation.subscriptions(*statuses)
        return found[number % len(found)] if found else None

    def _at_stripe(self, work: Any) -> None:
        async def act() -> None:
            work(self.simulation.sandbox)

        self._step(act())

    def _nth_of_kind(self, kind: str, number: int) -> str | None:
        """Return the id of one of Stripe's refunds or disputes, if there is any."""
        found = list(self.simulation.sandbox.backend.store.of_kind(kind))
        return str(found[number % len(found)]["id"]) if found else None

    def _reverse(self, work: Any) -> None:
        self._at_stripe(lambda _: self.simulation.reverse(work))

    async def _pay(self, secret: str, card: str) -> None:
        self.simulation.pay(secret, card)

    async def _deliver(self, which: Sequence[int], concurrently: bool) -> None:
        events = self.simulation.events
        chosen = [events[number % len(events)] for number in which]
        if concurrently:
            await self._deliver_concurrently(chosen)
            return
        for i, event in enumerate(chosen):
            await self.simulation.deliver(event, to=i % len(self.simulation.processes))

    async def _deliver_concurrently(self, events: Sequence[dict[str, Any]]) -> None:
        numbered = enumerate(events)
        every = len(self.simulation.processes)
        work = asyncio.gather(
            *(self.simulation.deliver(event, to=i % every) for i, event in numbered)
        )
        await laws.check_balances_until_done(self.simulation, work)
        await work

    async def _reconcile(self, which: Sequence[int]) -> None:
        events = self.simulation.events
        deliveries = [
            self.simulation.deliver(events[n % len(events)], to=1) for n in which if events
        ]
        await asyncio.gather(self.simulation.reconcile(by=0), *deliveries)

    async def _deliver_slowly(self, which: int, fault: Fault, *, renewed: bool) -> None:
        simulation = self.simulation
        candidates = simulation.waiting or simulation.events
        event = candidates[which % len(candidates)]
        simulation.injector.schedule(fault, simulation.processes[0].gate)
        slow = asyncio.create_task(simulation.deliver(event, to=0))
        waits = asyncio.create_task(simulation.injector.slow.wait())
        await asyncio.wait({slow, waits}, return_when=asyncio.FIRST_COMPLETED)
        waits.cancel()
        if renewed and (found := self._nth(0, "active", "past_due")):
            simulation.sandbox.renew(found["id"])
        others = (other for other in simulation.waiting if other is not event)
        await asyncio.gather(*(simulation.deliver(other, to=1) for other in others))
        simulation.injector.clear(fault)
        await slow

    def _step(self, work: Coroutine[Any, Any, Any]) -> Any:
        async def step() -> Any:
            self.simulation.tick()
            result = await work
            await self.simulation.settle()
            await laws.check_balances(self.simulation)
            await laws.check_delivered_snapshots(self.simulation)
            return result

        self.simulation.counts["steps"] += 1
        try:
            return self.runner.run(step())
        except BaseException:
            self.has_failed = True  # the end of the story would only fail again
            raise
