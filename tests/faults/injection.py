"""Cut what a process asks of MongoDB and of Stripe, before it is done or after.

A `Gate` is what every call of one process goes through, and `Faults` holds the cuts that wait for
the calls of all processes. `boundary` puts the gates where the driver and Stripe's SDK are, so that
all of the service runs as it is.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

When = Literal["before", "after"]

# The server ends an abandoned transaction by itself, after up to a minute. Here it takes this.
ABANDONED_SECONDS = 0.02


class Kind(StrEnum):
    """What a cut does."""

    ERROR = "error"  # this call fails
    OUTAGE = "outage"  # this one fails, and all that follow, until faults.heal()
    CANCEL = "cancel"  # the deliveries under way are cancelled
    CRASH = "crash"  # the process is gone: nothing of it reaches anybody any more
    SLOW = "slow"  # this call waits until faults.heal(), while others go on


# Those that end by themselves.
CUTS = (Kind.ERROR, Kind.OUTAGE, Kind.CANCEL, Kind.CRASH)


@dataclass(frozen=True)
class Cut:
    """Strikes the `call`-th call from now on (1 is the next), before or after it is done."""

    call: int
    when: When
    kind: Kind


@dataclass
class _Armed:
    cut: Cut
    gate: "Gate | None"
    left: int


class Faults:
    """The cuts that wait for a call, and the count of what was struck."""

    def __init__(self) -> None:
        self.struck: Counter[str] = Counter()
        self.calls: list[str] = []
        self._armed: list[_Armed] = []
        self._outages: set[Gate] = set()
        self.slow = asyncio.Event()  # a call waits
        self._healed = asyncio.Event()

    def arm(self, cut: Cut, gate: "Gate | None" = None) -> None:
        """Let a cut wait for its call: of one process, or of whichever."""
        self._armed.append(_Armed(cut, gate, cut.call))

    def heal(self) -> None:
        """End outages and slowness; cuts that wait for a later call stay."""
        self._healed.set()
        self._healed, self.slow = asyncio.Event(), asyncio.Event()
        for gate in self._outages:
            gate.outage = None
        self._outages.clear()

    def disarm(self, cut: Cut | None = None) -> None:
        """No more faults; or not this one, and the others stay."""
        self._armed = [armed for armed in self._armed if cut not in (None, armed.cut)]
        self.heal()

    async def wait(self) -> None:
        """Wait in a slow call."""
        self.slow.set()
        await self._healed.wait()

    def next_for(self, gate: "Gate", name: str) -> tuple[Kind, When] | None:
        """Count a call, and say what is to become of it."""
        self.calls.append(name)
        due = None
        for armed in list(self._armed):
            if armed.gate not in (None, gate):
                continue
            armed.left -= 1
            if armed.left == 0:
                self._armed.remove(armed)
                due = armed.cut
        if due is not None:
            self.struck[due.kind.value] += 1
            self.struck[due.when] += 1
            self.struck["at_stripe" if name.startswith("stripe.") else "at_mongodb"] += 1
            if due.kind is Kind.OUTAGE:
                gate.outage = due.when
                self._outages.add(gate)
            return due.kind, due.when
        return None if gate.outage is None else (Kind.OUTAGE, gate.outage)


class Gate:
    """What the calls of one process go through.

    `on_cancel` cancels the deliveries under way in the process, `on_crash` ends it.
    """

    def __init__(
        self, faults: Faults, *, on_cancel: Callable[[], None], on_crash: Callable[[], None]
    ) -> None:
        self.faults = faults
        self.outage: When | None = None
        self.started = False  # what a process does at its start is not cut
        self.dead = False
        self.abandoned: set[asyncio.Task[None]] = set()
        self.sessions: set[Any] = set()
        self._on_cancel = on_cancel
        self._on_crash = on_crash

    async def call(
        self,
        name: str,
        work: Callable[[], Awaitable[Any]],
        error: Callable[[When], Exception | None],
    ) -> Any:
        """Do `work`, unless a cut is due. `error` says how the driver tells of one."""
        if self.dead:
            raise asyncio.CancelledError
        due = self.faults.next_for(self, name) if self.started else None
        if due is None:
            done = await work()
        else:
            kind, when = due
            if when == "before":
                await self._strike(kind, when, error)
                if kind in (Kind.ERROR, Kind.OUTAGE):
                    return None  # the driver keeps this error to itself
            done = await work()
            if when == "after":
                await self._strike(kind, when, error)
        if self.dead:  # meanwhile: nobody learns the answer
            raise asyncio.CancelledError
        return done

    async def _strike(
        self, kind: Kind, when: When, error: Callable[[When], Exception | None]
    ) -> None:
        if kind is Kind.CRASH:
            self._on_crash()
            raise asyncio.CancelledError
        if kind is Kind.CANCEL:
            self._on_cancel()
            await asyncio.sleep(0)  # raises here where this very task was cancelled
        elif kind is Kind.SLOW:
            await self.faults.wait()
        elif (raised := error(when)) is not None:
            raise raised

    def abandon(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Leave a transaction to the server, which ends it a little later."""

        async def end() -> None:
            await asyncio.sleep(ABANDONED_SECONDS)
            await work()

        task = asyncio.create_task(end())
        self.abandoned.add(task)
        task.add_done_callback(self.abandoned.discard)
