"""What is to be said of a plugin: its event types, its settings, and how it does on events."""

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
from ..settings import SettingsError
from ..testing import assert_exactly_once, load_event
from .observing import MAX_BLOCKING_SECONDS, Runs, listening, observed
from .recordings import is_made_up, payments_before, recordings_of
from .sources import Source

OURS = "datalayer-stripe"
"""Where an event comes from that is not one of the author's own."""

_HOLDS = (
    "it holds the event loop for {seconds:.1f} s at once, and the whole service waits meanwhile. "
    "Await what takes time, with a client that can be awaited, or do it in a thread: "
    "await asyncio.to_thread(…)."
)


@dataclass(frozen=True)
class Case:
    """A plugin and an event of one of its types; None where there is no recorded one."""

    plugin: Plugin[Any]
    event_type: str
    source: str
    event: Mapping[str, Any] | None

    def __str__(self) -> str:
        return f"{self.plugin.name} on {self.event_type}"


Result = Literal["ok", "rejected", "waits", "FAILED", "not run"]


@dataclass(frozen=True)
class Verdict:
    """How a case ended, and after how many seconds."""

    result: Result
    seconds: float | None = None


class Check:
    """What is found out about a source.

    `faults` and `notes` are what an author is told. They begin with what is to be seen without
    running anything, and grow as cases are tried.
    """

    def __init__(self, source: Source, environ: Mapping[str, str]) -> None:
        self.faults: list[str] = []
        self.notes: list[str] = []
        self._settings: dict[str, Any] = {}
        self._unset: set[str] = set()  # the plugins whose settings are missing or wrong
        self._look_at_types(source)
        self._read_settings(source, environ)
        types = {event_type for plugin in source.plugins for event_type in plugin.types}
        own = list(self._own_events(source.events, types))
        self.cases = [
            case
            for plugin in source.plugins
            for event_type in plugin.types
            for case in _cases(plugin, event_type, own)
        ]

    def _look_at_types(self, source: Source) -> None:
        for plugin in source.plugins:
            if not plugin.types:
                self.faults.append(f"{plugin.name}: it runs on no event: use @plugin.on(…).")
            for event_type in plugin.types:
                if doubt := unknown_type_warning(event_type):
                    self.faults.append(f"{plugin.name}: {doubt}")

    def _read_settings(self, source: Source, environ: Mapping[str, str]) -> None:
        for plugin in source.plugins:
            read, wrong = read_plugin_settings([plugin], environ)
            self._settings |= read
            if wrong:
                self._unset.add(plugin.name)
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
            if is_made_up(event):
                self.notes.append(
                    f"{path} is made up: put in its place what Stripe sends, see README.md."
                )
            if event["type"] in types:
                yield path.name, event
            else:
                self.notes.append(f"{path} is of {event['type']}, on which no plugin here runs.")

    def try_case(self, case: Case) -> Verdict:
        """Deliver the event to the plugin in every way that it must stand."""
        if case.event is None:
            if unknown_type_warning(case.event_type) is None:
                self.notes.append(
                    f"{case}: no event of this type is recorded. Save one of your own as "
                    f"tests/events/{case.event_type}.json, and it is tried."
                )
            return Verdict("not run")
        if case.plugin.name in self._unset:
            return Verdict("not run")
        begun = time.monotonic()
        result = self._tried(case, case.event)
        return Verdict(result, time.monotonic() - begun)

    def _tried(self, case: Case, event: Mapping[str, Any]) -> Result:
        runs, fault = Runs(), None
        plugin = observed(case.plugin, runs)
        with listening() as said:
            try:
                assert_exactly_once(
                    plugin,
                    event,
                    after=payments_before(event),
                    settings=self._settings.get(plugin.name),
                )
            except (AssertionError, DatalayerStripeError, SettingsError) as error:
                fault = f"{case}, from {case.source}:\n{error}"
        if not runs.any_whole:
            if runs.signal is not None:
                return self._set_aside(case, runs.signal)
            if fault and said.traceback:
                fault += f"\n{said.traceback}"
        if fault is None and runs.held_seconds > MAX_BLOCKING_SECONDS:
            fault = f"{case}: {_HOLDS.format(seconds=runs.held_seconds)}"
        if fault is None:
            return "ok"
        self.faults.append(indent(fault, "  ").lstrip())
        return "FAILED"

    def _set_aside(self, case: Case, signal: PluginSignal) -> Result:
        """Note what the plugin says on purpose: this event alone shows nothing of what it does."""
        where = f"{case}, from {case.source}"
        if isinstance(signal, Reject):
            self.notes.append(f"{where}: it rejects the event: {signal.reason}.")
            return "rejected"
        self.notes.append(
            f"{where}: it waits: {signal.reason}. Write a test that delivers what it waits for."
        )
        return "waits"


def _cases(
    plugin: Plugin[Any], event_type: str, own: list[tuple[str, Mapping[str, Any]]]
) -> Iterator[Case]:
    """The author's own events of the type, and ours, unless it is one that the author has."""
    events = [(name, event) for name, event in own if event["type"] == event_type]
    known = {event["id"] for _, event in events}
    for name, event in recordings_of(event_type).items():
        if event["id"] not in known:
            further = name.removeprefix(event_type).lstrip(".")
            events.append((f"{OURS}, {further}" if further else OURS, event))
    for name, event in events:
        yield Case(plugin, event_type, name, event)
    if not events:
        yield Case(plugin, event_type, "-", None)
