"""Concurrent reads of single keys, which share one read."""

import asyncio
import gc
from collections.abc import Collection, Mapping

import pytest

from datalayer_stripe.store.batched_read import MAX_CONCURRENT_READS, BatchedRead


class Reader:
    """Answers reads of several keys, when the test lets them end."""

    def __init__(self) -> None:
        self.reads: list[set[str]] = []
        self.ends: list[asyncio.Event] = []
        self.values = {"a": 1, "b": 2}

    async def read(self, keys: Collection[str]) -> Mapping[str, int]:
        end = asyncio.Event()
        self.reads.append(set(keys))
        self.ends.append(end)
        found = {key: self.values[key] for key in keys if key in self.values}
        await end.wait()
        if "fails" in keys:
            raise ConnectionError
        return found

    async def began(self, number: int) -> None:
        """Wait until this number of reads have begun."""

        async with asyncio.timeout(60):
            while len(self.reads) < number:  # noqa: ASYNC110
                await asyncio.sleep(0)


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def batched(reader: Reader) -> BatchedRead[str, int]:
    return BatchedRead(reader.read)


Batched = BatchedRead[str, int]


def start(batched: Batched, *keys: str) -> list["asyncio.Task[int | None]"]:
    return [asyncio.create_task(batched.get(key)) for key in keys]


@pytest.mark.gen_test
async def test_concurrent_callers_share_one_read(reader: Reader, batched: Batched) -> None:
    calls = start(batched, "a", "b", "a", "unknown")
    await reader.began(1)
    reader.ends[0].set()
    assert await asyncio.gather(*calls) == [1, 2, 1, None]
    assert reader.reads == [{"a", "b", "unknown"}]


@pytest.mark.gen_test
async def test_key_that_is_requested_after_a_read_began_is_read_again(
    reader: Reader, batched: Batched
) -> None:
    [early] = start(batched, "a")
    await reader.began(1)
    reader.values["a"] = 10
    [late] = start(batched, "a")
    await reader.began(2)
    for end in reader.ends:
        end.set()
    assert (await early, await late) == (1, 10)


@pytest.mark.gen_test
async def test_error_reaches_all_callers_of_a_read_and_no_others(
    reader: Reader, batched: Batched
) -> None:
    calls = start(batched, "a", "fails")
    await reader.began(1)
    [other] = start(batched, "a")
    await reader.began(2)
    for end in reader.ends:
        end.set()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(one) for one in ended] == [ConnectionError, ConnectionError]
    assert await other == 1


@pytest.mark.gen_test
async def test_read_goes_on_for_others_if_a_caller_is_cancelled(
    reader: Reader, batched: Batched
) -> None:
    first, second = start(batched, "a", "b")
    await reader.began(1)
    first.cancel()
    await asyncio.wait([first])
    reader.ends[0].set()
    assert await second == 2
    assert first.cancelled()


@pytest.mark.gen_test
async def test_error_of_a_read_without_callers_is_not_logged(
    reader: Reader, batched: Batched, caplog: pytest.LogCaptureFixture
) -> None:
    [call] = start(batched, "fails")
    await reader.began(1)
    call.cancel()
    await asyncio.wait([call])
    reader.ends[0].set()
    await asyncio.wait(asyncio.all_tasks() - {asyncio.current_task()}, timeout=5)
    gc.collect()
    assert caplog.messages == []


@pytest.mark.gen_test
async def test_hanging_reads_block_no_others_until_all_slots_are_taken(
    reader: Reader, batched: Batched
) -> None:
    hanging = []
    for number in range(1, MAX_CONCURRENT_READS):
        hanging += start(batched, "a")
        await reader.began(number)
    [call] = start(batched, "b")
    await reader.began(MAX_CONCURRENT_READS)
    waiting = start(batched, "a", "b")
    await asyncio.sleep(0)
    waiting += start(batched, "unknown")
    reader.ends[-1].set()
    assert await call == 2
    await reader.began(MAX_CONCURRENT_READS + 1)
    assert reader.reads[-1] == {"a", "b", "unknown"}, "what waited for a slot is read together"
    reader.ends[-1].set()
    assert await asyncio.gather(*waiting) == [1, 2, None]
    assert not any(one.done() for one in hanging)
