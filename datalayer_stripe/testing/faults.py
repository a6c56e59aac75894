"""Inject faults into the calls that a service makes to its database and to Stripe.

All calls of one simulated process go through its `CallGate`, see :mod:`.gated_clients`. A
`FaultInjector` decides which call fails, and how.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

When = Literal["before", "after"]
"""Whether a fault happens before its call is done or after."""

WHENS: tuple[When, ...] = ("before", "after")

MakeError = Callable[[When], Exception | None]
"""Makes the error that a client raises for a failed call; None if the client hides the error."""

_COMMIT = "commit"


class FaultKind(StrEnum):
    """What a fault does."""

    ERROR = "error"
    """The call raises an error."""
    OUTAGE = "outage"
    """The call and all later calls of the process raise an error, until `end_outages`."""
    CANCEL = "cancel"
    """The process's deliveries in flight are cancelled."""
    CRASH = "crash"
    """The process dies: it makes no more calls, and gets no more answers."""
    SLOW = "slow"
    """The call waits until `end_outages`; other calls do not."""


INTERRUPTING_KINDS = (FaultKind.ERROR, FaultKind.OUTAGE, FaultKind.CANCEL, FaultKind.CRASH)
"""The kinds after which the call returns by itself."""


@dataclass(frozen=True)
class Fault:
    """A fault of one call.

    Attributes:
        call: The number of calls until the fault, counted from when it is scheduled; 1 is the next.
        when: Whether it happens before or after the call is done.
        kind: What happens.
    """

    call: int
    when: When
    kind: FaultKind


@dataclass
class _Scheduled:
    fault: Fault
    gate: "CallGate | None"
    calls_left: int


class FaultInjector:
    """Schedules faults, and counts calls and injected faults.

    Attributes:
        calls: The names of all calls so far.
        injected: The number of injected faults by kind, by when, and by the called system.
        slow: Set while a slow call waits.
    """

    def __init__(self, faults: Sequence[Fault] = ()) -> None:
        """Schedule `faults`, for the calls of any process."""
        self.calls: list[str] = []
        self.injected: Counter[str] = Counter()
        self.slow = asyncio.Event()
        self._outages_ended = asyncio.Event()
        self._scheduled = [_Scheduled(fault, None, fault.call) for fault in faults]
        self._gates_in_outage: set[CallGate] = set()

    def schedule(self, fault: Fault, gate: "CallGate | None" = None) -> None:
        """Schedule a fault.

        Args:
            fault: The fault.
            gate: The process whose calls are counted; by default the calls of all processes are.
        """
        self._scheduled.append(_Scheduled(fault, gate, fault.call))

    def end_outages(self) -> None:
        """End outages and slow calls. Faults of later calls stay scheduled."""
        self._outages_ended.set()
        self._outages_ended, self.slow = asyncio.Event(), asyncio.Event()
        for gate in self._gates_in_outage:
            gate.outage = None
        self._gates_in_outage.clear()

    def clear(self, fault: Fault | None = None) -> None:
        """End outages, and remove one scheduled fault, or all of them by default."""
        self._scheduled = [one for one in self._scheduled if fault not in (None, one.fault)]
        self.end_outages()

    async def wait_in_slow_call(self) -> None:
        """Wait until `end_outages`."""
        self.slow.set()
        await self._outages_ended.wait()

    def next_fault(self, gate: "CallGate", name: str) -> tuple[FaultKind, When] | None:
        """Count a call, and return the fault that it must have, if any."""
        self.calls.append(name)
        due = self._due(gate)
        if due is None:
            return None if gate.outage is None else (FaultKind.OUTAGE, gate.outage)
        self.injected[due.kind.value] += 1
        self.injected[due.when] += 1
        self.injected["at_stripe" if name.startswith("stripe.") else "at_mongodb"] += 1
        if due.kind is FaultKind.OUTAGE:
            gate.outage = due.when
            self._gates_in_outage.add(gate)
        return due.kind, due.when

    def _due(self, gate: "CallGate") -> Fault | None:
        due = None
        for scheduled in list(self._scheduled):
            if scheduled.gate not in (None, gate):
                continue
            scheduled.calls_left -= 1
            if scheduled.calls_left == 0:
                self._scheduled.remove(scheduled)
                due = scheduled.fault
        return due


class CommitBarrier:
    """Makes concurrent deliveries commit only after all of them have read.

    Args:
        parties: The number of deliveries.
    """

    def __init__(self, parties: int) -> None:
        self._missing = parties
        self._complete = asyncio.Event()

    def leave(self) -> None:
        """Count one party as arrived, without waiting."""
        self._missing -= 1
        if self._missing <= 0:
            self._complete.set()

    async def wait(self) -> None:
        """Wait until all parties have arrived or left. Later callers do not wait."""
        self.leave()
        await self._complete.wait()


def _do_nothing() -> None:
    """Stand for a callback that is not needed."""


class CallGate:
    """Passes the calls of one simulated process, and injects faults into them.

    Attributes:
        enabled: Whether calls are counted and may fail.
        dead: Whether the process has crashed.
        outage: When the calls of an outage fail; None if there is no outage.
        commit_barrier: Where commits wait for each other, if anywhere.
    """

    def __init__(
        self,
        injector: FaultInjector,
        *,
        enabled: bool = True,
        on_cancel: Callable[[], None] = _do_nothing,
        on_crash: Callable[[], None] = _do_nothing,
    ) -> None:
        """Create the gate of a process.

        Args:
            injector: Decides which calls fail.
            enabled: Whether calls are counted and may fail from the start.
            on_cancel: Cancels the deliveries in flight.
            on_crash: Called when the process crashes.
        """
        self.injector = injector
        self.enabled = enabled
        self.dead = False
        self.outage: When | None = None
        self.commit_barrier: CommitBarrier | None = None
        self._on_cancel = on_cancel
        self._on_crash = on_crash

    async def call(
        self, name: str, work: Callable[[], Awaitable[Any]], make_error: MakeError
    ) -> Any:
        """Do a call, and inject its fault, if it has one.

        Args:
            name: The name of the call; that of a call to Stripe begins with `stripe.`.
            work: Makes the call.
            make_error: Makes the error of a failed call.

        Returns:
            What the call returns; None if it fails and the client hides the error.

        Raises:
            CancelledError: The process has crashed, or the delivery was cancelled.
            Exception: The error of the fault, or what the call itself raises.
        """
        # Concurrent calls must take turns, even on a store that answers without waiting.
        await asyncio.sleep(0)
        if self.commit_barrier is not None and name == _COMMIT:
            await self.commit_barrier.wait()
        self._check_alive()
        fault = self.injector.next_fault(self, name) if self.enabled else None
        if fault is None:
            result = await work()
        else:
            kind, when = fault
            if when == "before":
                await self._inject(kind, when, make_error)
                if kind in (FaultKind.ERROR, FaultKind.OUTAGE):
                    return None  # the client hides this error
            result = await work()
            if when == "after":
                await self._inject(kind, when, make_error)
        self._check_alive()  # a process that crashed in the meantime gets no answer
        return result

    async def _inject(self, kind: FaultKind, when: When, make_error: MakeError) -> None:
        if kind is FaultKind.CRASH:
            self.dead = True
            self._on_crash()
            self._check_alive()
        if kind is FaultKind.CANCEL:
            self._on_cancel()
            await asyncio.sleep(0)  # raises CancelledError if this task was cancelled
        elif kind is FaultKind.SLOW:
            await self.injector.wait_in_slow_call()
        elif (error := make_error(when)) is not None:
            raise error

    def _check_alive(self) -> None:
        if self.dead:
            raise asyncio.CancelledError
