"""A read is shared until it starts, and not with callers that come later."""

import asyncio
from collections.abc import Callable

import pytest

from datalayer_stripe.billing.shared_reads import SharedReads


class Source:
    """Reads whose beginning and end the test decides."""

    def __init__(self) -> None:
        self.reads = 0
        self.may_start = asyncio.Event()
        self.may_end = asyncio.Event()
        self.fails: Exception | None = None

    async def read(self, object_id: str, on_start: Callable[[], None]) -> str:
        await self.may_start.wait()
        on_start()
        self.reads += 1
        number = self.reads
        await self.may_end.wait()
        if self.fails is not None:
            raise self.fails
        return f"{object_id} {number}"


async def pause() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.gen_test
async def test_callers_share_a_read_that_waits() -> None:
    source = Source()
    reads = SharedReads(source.read)
    first, second = asyncio.create_task(reads.get("a")), asyncio.create_task(reads.get("a"))
    other = asyncio.create_task(reads.get("b"))
    await pause()
    source.may_start.set()
    source.may_end.set()
    assert await asyncio.gather(first, second, other) == ["a 1", "a 1", "b 2"]
    assert await reads.get("a") == "a 3", "nothing is cached"


@pytest.mark.gen_test
async def test_read_that_has_started_is_not_shared() -> None:
    source = Source()
    reads = SharedReads(source.read)
    source.may_start.set()
    first = asyncio.create_task(reads.get("a"))
    await pause()
    assert source.reads == 1
    later = asyncio.create_task(reads.get("a"))
    await pause()
    assert source.reads == 2
    source.may_end.set()
    assert await asyncio.gather(first, later) == ["a 1", "a 2"]


@pytest.mark.gen_test
async def test_cancelled_caller_does_not_cancel_the_read_of_another() -> None:
    source = Source()
    reads = SharedReads(source.read)
    first, second = asyncio.create_task(reads.get("a")), asyncio.create_task(reads.get("a"))
    await pause()
    first.cancel()
    await pause()
    source.may_start.set()
    source.may_end.set()
    assert await second == "a 1"
    assert first.cancelled()


@pytest.mark.gen_test
async def test_all_callers_get_the_error_of_a_read_and_the_next_read_is_new() -> None:
    source = Source()
    reads = SharedReads(source.read)
    source.may_start.set()
    source.may_end.set()
    source.fails = ValueError("no")
    results = await asyncio.gather(reads.get("a"), reads.get("a"), return_exceptions=True)
    assert [type(one) for one in results] == [ValueError, ValueError]
    source.fails = None
    assert (await reads.get("a")).startswith("a ")
