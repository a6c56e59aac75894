"""Measure how long a plugin's runs block the event loop, and remember how they end."""

import time
import traceback
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from types import coroutine
from typing import Any

from ..errors import PluginSignal
from ..plugin_api.definition import Plugin
from ..redaction import redact

_PACKAGE = Path(__file__).parents[1]

MAX_BLOCKING_SECONDS = 0.1
"""The time that asyncio calls slow: https://docs.python.org/3/library/asyncio-dev.html."""


class Runs:
    """What was measured of a plugin's runs.

    Attributes:
        signal: The `Retry` or `Reject` that the last run raised, if it did.
    """

    def __init__(self) -> None:
        self.signal: PluginSignal | None = None
        self._blocking_seconds: list[float] = []

    def add(self, blocking_seconds: float) -> None:
        """Add a complete run.

        An interrupted run is not added: it may have ended before the blocking code.

        Args:
            blocking_seconds: The longest time for which the run blocked the event loop at once.
        """
        self._blocking_seconds.append(blocking_seconds)

    @property
    def any_complete(self) -> bool:
        """Whether any run was complete."""
        return bool(self._blocking_seconds)

    @property
    def min_blocking_seconds(self) -> float:
        """The minimum blocking time over all runs.

        A single long time may be caused by the machine, and not by the plugin.
        """
        return min(self._blocking_seconds, default=0.0)


def measured(plugin: Plugin[Any], runs: Runs) -> Plugin[Any]:
    """Return a copy of a plugin whose runs are measured.

    Args:
        plugin: The plugin.
        runs: Gets the measurements.
    """
    copied: Plugin[Any] = Plugin(
        plugin.name,
        order=plugin.order,
        timeout=plugin.timeout,
        moves_money=plugin.moves_money,
        settings=plugin.settings,
    )
    copied.origin = plugin.origin
    copied.lifespan_function = plugin.lifespan_function
    for event_type in plugin.types:
        registration = plugin.registration(event_type)
        assert registration is not None  # noqa: S101 (the type is one of the plugin's)
        copied.on(event_type, deferred=registration.deferred, timeout=registration.seconds)(
            _measured_function(registration.function, runs)
        )
    return copied


def author_traceback(error: BaseException) -> str:
    """Return the traceback of a plugin's error, without frames of this package and secrets."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [one for one in frames if not Path(one.filename).is_relative_to(_PACKAGE)]
    raised = traceback.format_exception_only(error)
    return redact("".join([*traceback.format_list(own), *raised]).rstrip())


def _measured_function(
    function: Callable[..., Coroutine[Any, Any, None]], runs: Runs
) -> Callable[..., Coroutine[Any, Any, None]]:
    async def run(event: Any, ctx: Any) -> Any:
        steps: list[float] = []
        runs.signal = None
        try:
            result = await _timed_steps(function(event, ctx), steps)
        except PluginSignal as signal:
            runs.signal = signal
            raise
        if result is None:  # a run that returns a value is an error
            runs.add(max(steps))
        return result

    return run


@coroutine
def _timed_steps(work: Coroutine[Any, Any, Any], steps: list[float]) -> Generator[Any, Any, Any]:
    """Await a coroutine, and append the seconds of each step between two awaits to `steps`."""
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
            resume, value = work.throw, error  # the plugin handles it, such as a cancellation
