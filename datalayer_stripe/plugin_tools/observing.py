"""A plugin under observation: how long it holds the event loop, and what the log says of it."""

import logging
import time
import traceback
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import coroutine
from typing import Any

from ..errors import PluginSignal
from ..logs import redact
from ..plugin_api.definition import Plugin

_PACKAGE = Path(__file__).parents[1]

MAX_BLOCKING_SECONDS = 0.1
"""What asyncio calls slow: docs.python.org/3/library/asyncio-dev.html."""


class Runs:
    """What was seen of a plugin's runs."""

    def __init__(self) -> None:
        self.signal: PluginSignal | None = None
        """The Retry or Reject that the last run ended in, if it did."""
        self._holds: list[float] = []

    def add(self, held_seconds: float) -> None:
        """Note a run that came to its end: for how long it held the event loop at the longest.

        One that was cut counts for nothing: it may not have come so far.
        """
        self._holds.append(held_seconds)

    @property
    def any_whole(self) -> bool:
        return bool(self._holds)

    @property
    def held_seconds(self) -> float:
        """What no run has stayed below: a single long hold may be the machine's own doing."""
        return min(self._holds, default=0.0)


def observed(plugin: Plugin[Any], runs: Runs) -> Plugin[Any]:
    """The same plugin once more, whose functions' runs are looked at."""
    twin: Plugin[Any] = Plugin(
        plugin.name,
        order=plugin.order,
        timeout=plugin.timeout,
        moves_money=plugin.moves_money,
        settings=plugin.settings,
    )
    twin.origin = plugin.origin
    twin.lifespan_function = plugin.lifespan_function
    for event_type in plugin.types:
        registration = plugin.registration(event_type)
        assert registration is not None  # noqa: S101 (it is one of its types)
        twin.on(event_type, deferred=registration.deferred, timeout=registration.seconds)(
            _observed_function(registration.function, runs)
        )
    return twin


def _observed_function(
    function: Callable[..., Coroutine[Any, Any, None]], runs: Runs
) -> Callable[..., Coroutine[Any, Any, None]]:
    async def run(event: Any, ctx: Any) -> Any:
        steps: list[float] = []
        runs.signal = None
        try:
            given = await _stepped(function(event, ctx), steps)
        except PluginSignal as signal:
            runs.signal = signal
            raise
        if given is None:  # a plugin returns nothing
            runs.add(max(steps))
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


class Said(logging.Handler):
    """What the service's log has said of a plugin: its last error's traceback."""

    def __init__(self) -> None:
        super().__init__()
        self.traceback: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1]:
            self.traceback = redact(_traceback(record.exc_info[1]))


def _traceback(error: BaseException) -> str:
    """Of what a plugin has raised, without our own frames."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [one for one in frames if not Path(one.filename).is_relative_to(_PACKAGE)]
    raised = traceback.format_exception_only(error)
    return "".join([*traceback.format_list(own), *raised]).rstrip()


@contextmanager
def listening() -> Iterator[Said]:
    """What the service's log says meanwhile, which is not shown."""
    logger, said = logging.getLogger(__name__.partition(".")[0]), Said()
    propagate = logger.propagate
    logger.addHandler(said)
    logger.propagate = False
    try:
        yield said
    finally:
        logger.propagate = propagate
        logger.removeHandler(said)
