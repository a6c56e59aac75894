"""Check a plugin: its event types, its settings, and its runs on events."""

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import Any, Literal

from ..errors import DatalayerStripeError, KitError, PluginSignal, Reject
from ..events import unknown_type_warning
from ..plugin_api.definition import Plugin
from ..plugin_api.settings import read_plugin_settings
from ..testing import assert_exactly_once, load_event
from ..testing.recordings import recordings_of
from .measuring import MAX_BLOCKING_SECONDS, Runs, author_traceback, measured
from .recordings import is_placeholder, payments_before
from .sources import Source

OUR_SOURCE = "datalayer-stripe"
"""The source of an event that comes with this package."""

_BLOCKS = (
    "it blocks the event loop for {seconds:.1f} s at once, and the whole service waits. "
    "Use an asynchronous client, or run the slow code in a thread: "
    "await asyncio.to_thread(…)."
)


@dataclass(frozen=True)
class Case:
    """A plugin and an event of one of its types.

    Attributes:
        plugin: The plugin.
        event_type: One of its event types.
        source: Where the event comes from: a file name, or this package.
        event: The event, as plain data; None if there is no recorded one.
    """

    plugin: Plugin[Any]
    event_type: str
    source: str
    event: Mapping[str, Any] | None

    def __str__(self) -> str:
        return f"{self.plugin.name} on {self.event_type}"


Result = Literal["ok", "rejected", "waits", "FAILED", "not run"]


@dataclass(frozen=True)
class Verdict:
    """The result of a case.

    Attributes:
        result: How it ended.
        seconds: How long it took; None if it was not run.
    """

    result: Result
    seconds: float | None = None


class Check:
    """The check of the plugins of a source.

    At first it has what can be found without running a plugin. :meth:`run_case` adds to it.

    Attributes:
        cases: The cases to run.
        faults: What is wrong, for the author.
        notes: What the author should know.
    """

    def __init__(self, source: Source, environ: Mapping[str, str]) -> None:
        """Check event types, settings and event files.

        Args:
            source: The plugins.
            environ: The environment variables, for the plugins' settings.
        """
        self.faults: list[str] = []
        self.notes: list[str] = []
        self._settings: dict[str, Any] = {}
        self._unconfigured: set[str] = set()
        self._check_types(source)
        self._read_settings(source, environ)
        types = {event_type for plugin in source.plugins for event_type in plugin.types}
        own = list(self._own_events(source.events, types))
        self.cases = [
            case
            for plugin in source.plugins
            for event_type in plugin.types
            for case in _cases(plugin, event_type, own)
        ]

    def _check_types(self, source: Source) -> None:
        for plugin in source.plugins:
            if not plugin.types:
                self.faults.append(f"{plugin.name}: it runs on no event type. Use @plugin.on(…).")
            for event_type in plugin.types:
                if warning := unknown_type_warning(event_type):
                    self.faults.append(f"{plugin.name}: {warning}")

    def _read_settings(self, source: Source, environ: Mapping[str, str]) -> None:
        for plugin in source.plugins:
            read, wrong = read_plugin_settings([plugin], environ)
            self._settings |= read
            if wrong:
                self._unconfigured.add(plugin.name)
                self.faults += map(str, wrong)

    def _own_events(
        self, folder: Path, types: Collection[str]
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        for path in sorted(folder.glob("*.json")):
            try:
                event = load_event(path)
            except KitError as error:
                self.faults.append(str(error))
                continue
            if is_placeholder(event):
                self.notes.append(
                    f"{path} is a placeholder. Replace it with an event from Stripe: see README.md."
                )
            if event["type"] in types:
                yield path.name, event
            else:
                self.notes.append(
                    f"{path} has the type {event['type']}, on which none of the plugins runs."
                )

    def run_case(self, case: Case) -> Verdict:
        """Deliver the event in all the ways in which it may arrive.

        Args:
            case: The plugin and the event.

        Returns:
            The result. What it means is added to `faults` or `notes`.
        """
        if case.event is None:
            if unknown_type_warning(case.event_type) is None:
                self.notes.append(
                    f"{case}: there is no recorded event of this type. Save one of your own as "
                    f"tests/events/{case.event_type}.json to run the plugin on it."
                )
            return Verdict("not run")
        if case.plugin.name in self._unconfigured:
            return Verdict("not run")
        begun = time.monotonic()
        result = self._run(case, case.event)
        return Verdict(result, time.monotonic() - begun)

    def _run(self, case: Case, event: Mapping[str, Any]) -> Result:
        runs = Runs()
        fault = self._fault_of(case, event, runs)
        if not runs.any_complete and runs.signal is not None:
            return self._note_signal(case, runs.signal)
        if fault is None and runs.min_blocking_seconds > MAX_BLOCKING_SECONDS:
            fault = f"{case}: {_BLOCKS.format(seconds=runs.min_blocking_seconds)}"
        if fault is None:
            return "ok"
        self.faults.append(indent(fault, "  ").lstrip())
        return "FAILED"

    def _fault_of(self, case: Case, event: Mapping[str, Any], runs: Runs) -> str | None:
        """Run the case; return what is wrong, with the traceback of the plugin's error."""
        try:
            assert_exactly_once(
                measured(case.plugin, runs),
                event,
                after=payments_before(event),
                settings=self._settings.get(case.plugin.name),
            )
        except (AssertionError, DatalayerStripeError) as error:
            fault = f"{case}, from {case.source}:\n{error}"
            raised = error.__cause__ if isinstance(error, AssertionError) else None
            if raised is not None and not runs.any_complete:
                fault += f"\n{author_traceback(raised)}"
            return fault
        return None

    def _note_signal(self, case: Case, signal: PluginSignal) -> Result:
        """Note that the plugin rejects the event or waits: this event alone cannot test it."""
        where = f"{case}, from {case.source}"
        if isinstance(signal, Reject):
            self.notes.append(f"{where}: it rejects the event: {signal.reason}.")
            return "rejected"
        self.notes.append(
            f"{where}: it waits: {signal.reason}. Write a test that first delivers the event that "
            "it waits for."
        )
        return "waits"


def _cases(
    plugin: Plugin[Any], event_type: str, own: list[tuple[str, Mapping[str, Any]]]
) -> Iterator[Case]:
    """Yield the author's events of the type, and the recorded ones that are not among them."""
    events = [(name, event) for name, event in own if event["type"] == event_type]
    own_ids = {event["id"] for _, event in events}
    for name, event in recordings_of(event_type).items():
        if event["id"] not in own_ids:
            suffix = name.removeprefix(event_type).lstrip(".")
            events.append((f"{OUR_SOURCE}, {suffix}" if suffix else OUR_SOURCE, event))
    for name, event in events:
        yield Case(plugin, event_type, name, event)
    if not events:
        yield Case(plugin, event_type, "-", None)
