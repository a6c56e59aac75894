"""Faults that the injector injects into the calls of simulated processes."""

import asyncio
from typing import Any

import pytest

from datalayer_stripe.testing.faults import (
    WHENS,
    CallGate,
    CommitBarrier,
    Fault,
    FaultInjector,
    FaultKind,
    When,
)


class Calls:
    """Makes numbered calls through a gate, and remembers which of them were done."""

    def __init__(self, gate: CallGate, *, hides_errors: bool = False) -> None:
        self.gate = gate
        self.done: list[int] = []
        self._hides_errors = hides_errors

    async def call(self, number: int, name: str = "find") -> Any:
        async def work() -> int:
            self.done.append(number)
            return number

        error = None if self._hides_errors else OSError(f"call {number}")
        return await self.gate.call(name, work, lambda _: error)


@pytest.fixture
def injector() -> FaultInjector:
    return FaultInjector()


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.gen_test
async def test_error_fails_one_call_before_or_after_it_is_done(
    injector: FaultInjector, when: When
) -> None:
    calls = Calls(CallGate(injector))
    injector.schedule(Fault(2, when, FaultKind.ERROR))
    assert await calls.call(1) == 1
    with pytest.raises(OSError, match="call 2"):
        await calls.call(2)
    assert await calls.call(3) == 3
    assert calls.done == ([1, 3] if when == "before" else [1, 2, 3])
    assert injector.calls == ["find"] * 3
    assert injector.injected == {"error": 1, when: 1, "at_mongodb": 1}


@pytest.mark.gen_test
async def test_hidden_error_returns_none_without_doing_the_call(injector: FaultInjector) -> None:
    calls = Calls(CallGate(injector), hides_errors=True)
    injector.schedule(Fault(1, "before", FaultKind.ERROR))
    assert await calls.call(1) is None
    assert calls.done == []


@pytest.mark.gen_test
async def test_outage_fails_all_calls_of_its_process_until_it_ends(injector: FaultInjector) -> None:
    first, second = Calls(CallGate(injector)), Calls(CallGate(injector))
    injector.schedule(Fault(1, "before", FaultKind.OUTAGE))
    for number in (1, 2):
        with pytest.raises(OSError, match=f"call {number}"):
            await first.call(number)
    assert await second.call(1) == 1
    injector.end_outages()
    assert await first.call(3) == 3


@pytest.mark.gen_test
async def test_crashed_process_makes_no_more_calls(injector: FaultInjector) -> None:
    crashes: list[str] = []
    crashing = Calls(CallGate(injector, on_crash=lambda: crashes.append("crash")))
    other = Calls(CallGate(injector))
    injector.schedule(Fault(1, "after", FaultKind.CRASH), crashing.gate)
    assert await other.call(1) == 1, "only the calls of one process are counted"
    for number in (1, 2):
        with pytest.raises(asyncio.CancelledError):
            await crashing.call(number)
    assert (crashing.done, crashing.gate.dead, crashes) == ([1], True, ["crash"])


@pytest.mark.gen_test
async def test_slow_call_waits_while_other_calls_are_done(injector: FaultInjector) -> None:
    calls = Calls(CallGate(injector))
    injector.schedule(Fault(1, "before", FaultKind.SLOW))
    slow = asyncio.create_task(calls.call(1))
    await injector.slow.wait()
    assert await calls.call(2) == 2
    injector.clear()
    assert await slow == 1
    assert calls.done == [2, 1]


@pytest.mark.gen_test
async def test_cancel_calls_the_callback_and_does_the_call(injector: FaultInjector) -> None:
    cancelled: list[str] = []
    calls = Calls(CallGate(injector, on_cancel=lambda: cancelled.append("cancel")))
    injector.schedule(Fault(1, "before", FaultKind.CANCEL))
    assert await calls.call(1) == 1
    assert cancelled == ["cancel"]


@pytest.mark.gen_test
async def test_disabled_gate_neither_counts_calls_nor_injects_faults(
    injector: FaultInjector,
) -> None:
    calls = Calls(CallGate(injector, enabled=False))
    injector.schedule(Fault(1, "before", FaultKind.ERROR))
    assert await calls.call(1) == 1
    assert injector.calls == []


@pytest.mark.gen_test
async def test_commits_wait_for_each_other_at_the_barrier(injector: FaultInjector) -> None:
    calls = Calls(CallGate(injector))
    calls.gate.commit_barrier = CommitBarrier(3)
    first = asyncio.create_task(calls.call(1, "commit"))
    assert await calls.call(2, "find") == 2
    second = asyncio.create_task(calls.call(3, "commit"))
    await asyncio.sleep(0.01)
    assert calls.done == [2]
    calls.gate.commit_barrier.leave()
    assert await asyncio.gather(first, second) == [1, 3]
