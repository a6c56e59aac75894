"""Whether a plugin keeps the whole service waiting: how long it holds the event loop at once."""

import time
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any

from ..plugin import Plugin

LONGEST_SECONDS = 0.1
"""What asyncio calls slow: docs.python.org/3/library/asyncio-dev.html."""


class Holds:
    """How long each run of a plugin's function has held the event loop, at the longest."""

    def __init__(self) -> None:
        self._seconds: list[float] = []

    def add(self, seconds: float) -> None:
        self._seconds.append(seconds)

    @property
    def least(self) -> float:
        """Seconds that no run has stayed below: one long hold may be the machine's own doing."""
        return min(self._seconds, default=0.0)


def timed(plugin: Plugin[Any], holds: Holds) -> Plugin[Any]:
    """The same plugin once more, whose functions' runs are timed."""
    twin: Plugin[Any] = Plugin(
        plugin.name,
        order=plugin.order,
        timeout=plugin.timeout,
        moves_money=plugin.moves_money,
        settings=plugin.settings,
    )
    twin.origin = plugin.origin
    twin.start_hook, twin.stop_hook = plugin.start_hook, plugin.stop_hook
    for event_type in plugin.types:
        handling = plugin.handling(event_type)
        assert handling is not None  # noqa: S101 (it is one of its types)
        twin.on(event_type, deferred=handling.deferred, timeout=handling.seconds)(
            _timed_function(handling.function, holds)
        )
    return twin


def _timed_function(
    function: Callable[..., Coroutine[Any, Any, None]], holds: Holds
) -> Callable[..., Coroutine[Any, Any, None]]:
    async def run(event: Any, ctx: Any) -> Any:
        steps: list[float] = []
        given = await _stepped(function(event, ctx), steps)
        holds.add(max(steps))  # of whole runs alone: one that was cut may not have come so far
        return given

    return run


@coroutine
def _stepped(work: Coroutine[Any, Any, Any], steps: list[float]) -> Generator[Any, Any, Any]:
    """Await it, and note the seconds of each step: from one thing that it awaits to the next."""
    resume: Callable[[Any], Any] = work.send
    value: Any = None
    while True:
        begun = time.perf_counter()
        try:
            awaited = resume(value)
        except StopIteration as end:
            return end.value
        finally:
            steps.append(time.perf_counter() - begun)
        try:
            resume, value = work.send, (yield awaited)
        except BaseException as error:
            resume, value = work.throw, error  # cancelled, say: it is for the plugin to end
