"""Cut what a service asks of its database and of Stripe, before a call is done or after.

A `Gate` is what every call of one process goes through. A commit is one call: that it is kept whole
or not at all is the store's promise, and tried elsewhere.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, TypeVar, cast

import stripe

from ..errors import StoreUnavailable, StripeUnavailable
from ..store import Store
from ..stripe_api.client import StripeClient

T = TypeVar("T")

When = Literal["before", "after"]


_COMMIT = "commit"


class Kind(StrEnum):
    """What a cut does."""

    ERROR = "error"  # nobody answers this call
    DEATH = "death"  # the process is gone: nothing of it reaches anybody any more


@dataclass(frozen=True)
class Cut:
    """Strikes the `call`-th call of a process, 1 being its first, before or after it is done."""

    call: int
    when: When
    kind: Kind


class Meeting:
    """Where deliveries that run at once wait for each other: none commits before all have read."""

    def __init__(self, number: int) -> None:
        self._missing = number
        self._complete = asyncio.Event()

    def leave(self) -> None:
        """Be waited for no longer."""
        self._missing -= 1
        if self._missing <= 0:
            self._complete.set()

    async def arrive(self) -> None:
        """Wait for the others; those that come later do not wait."""
        self.leave()
        await self._complete.wait()


class Gate:
    """What the calls of one process go through.

    Attributes:
        calls: the names of the calls so far.
        dead: whether the process has died.
        meeting: where its commits wait, if anywhere.
    """

    def __init__(self, cut: Cut | None = None) -> None:
        self._cut = cut
        self.meeting: Meeting | None = None
        self.calls: list[str] = []
        self.dead = False

    async def call(
        self, name: str, work: Callable[[], Awaitable[Any]], error: type[Exception]
    ) -> Any:
        """Do `work`, unless the cut is due. `error` is what is raised where nobody answers."""
        # Each call takes a while, so that what runs at once goes step by step.
        await asyncio.sleep(0)
        if self.meeting is not None and name == _COMMIT:
            await self.meeting.arrive()
        self._check_alive()
        self.calls.append(name)
        due = self._cut if self._cut and self._cut.call == len(self.calls) else None
        if due and due.when == "before":
            self._strike(due, error)
        done = await work()
        if due and due.when == "after":
            self._strike(due, error)
        self._check_alive()  # it died meanwhile: nobody learns the answer
        return done

    def _strike(self, cut: Cut, error: type[Exception]) -> None:
        if cut.kind is Kind.ERROR:
            raise error
        self.dead = True
        self._check_alive()

    def _check_alive(self) -> None:
        if self.dead:
            raise asyncio.CancelledError


def gated_store(store: Store, gate: Gate) -> Store:
    """The store with all its calls through a gate. To close it does nothing: it is shared."""
    return cast("Store", _Gated(store, gate, "", StoreUnavailable))


def gated_stripe(client: StripeClient, gate: Gate) -> StripeClient:
    """Stripe's client with all its calls through a gate."""
    return cast("StripeClient", _Gated(client, gate, "stripe.", StripeUnavailable))


class _SdkCut(stripe.APIConnectionError):
    """What the SDK raises where nobody answers."""

    def __init__(self) -> None:
        super().__init__("cut by the test kit")  # type: ignore[no-untyped-call]


class _Gated:
    """Stands for an object and its parts; their coroutine functions are the calls."""

    def __init__(self, target: Any, gate: Gate, prefix: str, error: type[Exception]) -> None:
        self._target = target
        self._gate = gate
        self._prefix = prefix
        self._error = error

    async def close(self) -> None:
        """Leave it open."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if inspect.iscoroutinefunction(found):
            return self._through(self._prefix + name, found)
        module = type(found).__module__
        if module.startswith(f"{stripe.__name__}."):
            # Whoever calls Stripe by the SDK meets the SDK's own errors.
            return _Gated(found, self._gate, f"{self._prefix}{name}.", _SdkCut)
        if module.startswith(f"{Store.__module__.rpartition('.')[0]}."):
            return _Gated(found, self._gate, f"{self._prefix}{name}.", self._error)
        return found

    def _through(self, name: str, work: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        async def call(*args: Any, **options: Any) -> Any:
            return await self._gate.call(name, lambda: work(*args, **options), self._error)

        return call
