"""The commands `plugins list`, `plugins new` and `plugins check`."""

import asyncio
import importlib.util
import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from ..configuration import PluginSources
from ..errors import SettingsError, StartError, StoreUnavailable
from ..plugin_api.definition import Plugin
from ..plugin_api.registry import Registry
from ..service import DISABLED_MONEY_PLUGIN
from ..settings import Settings, read_environment, variable
from ..store import connect
from ..store.connect import MEMORY_URL
from .common import fail
from .output.exports import print_json
from .output.formats import Format
from .output.tables import (
    Column,
    TablePrinter,
    as_records,
    print_rows,
    print_rows_as_csv,
    print_table,
)
from .output.terminal import pluralize, print_line, print_message, print_paragraph, styled

if TYPE_CHECKING:
    from ..plugin_tools.check import Case, Check, Verdict

_FAILURES_PERIOD = timedelta(days=1)
_CASE_COLUMNS: "Sequence[Column[tuple[Case, Verdict]]]" = (
    Column("plugin", lambda one: one[0].plugin.name),
    Column("event_type", lambda one: one[0].event_type),
    Column("source", lambda one: one[0].source),
    Column("result", lambda one: one[1].result),
    Column("seconds", lambda one: one[1].seconds),
)
_CASE_HEADS = ("PLUGIN", "EVENT", "RESULT", "SECONDS", "FROM")

_UNRECORDED = (
    "datalayer-stripe has no recorded event of the type {event_type}, so the one in tests/events "
    "is a placeholder. Replace it with an event from Stripe: README.md says how."
)

_NEXT = """\
Next, in a virtual environment:

  cd {folder}
  pip install --editable ".[test]"
  pytest
"""
_THEN = (
    "Then change the plugin, and run `datalayer-stripe plugins check .`. See README.md for more."
)


def list_plugins(output: Format) -> None:
    """List the plugins in the order in which they run, each with its event types."""
    try:
        registry = PluginSources.from_environment().load()
    except StartError as error:
        fail(str(error))
    failures, hint = _failures_of_last_day(registry)
    listed = (*registry.plugins, *registry.disabled)
    columns = _columns(registry, failures)
    if output is Format.JSON:
        plugins = as_records(columns, listed)
        print_json({"plugins": plugins, "event_types": list(registry.types)})
        return
    if output is Format.CSV:
        print_rows_as_csv(columns, listed)
        return
    print_table(columns, listed, detail=_event_types)
    if hint:
        print_line()
        print_paragraph(hint)
    disabled = [f"{DISABLED_MONEY_PLUGIN % name}." for name in registry.disabled_money_plugins]
    for warning in [*disabled, *registry.unknown_type_warnings]:
        print_line()
        print_paragraph(warning, prefix=styled("WARNING: ", "yellow"))
    print_line()
    print_line("Stripe must send these event types (`datalayer-stripe webhook sync`):")
    for event_type in registry.types:
        print_line(f"  {event_type}")


def _columns(registry: Registry, failures: Mapping[str, int]) -> Sequence[Column[Plugin[Any]]]:
    """Return the columns of the list.

    Args:
        registry: The plugins.
        failures: The number of failures by plugin.
    """

    def state(plugin: Plugin[Any]) -> str:
        on = "off" if plugin in registry.disabled else "on"
        return f"{on}, moves money" if plugin.moves_money else on

    return (
        Column("name", lambda one: one.name, head="PLUGIN"),
        Column("order", lambda one: one.order, head="ORDER"),
        Column("on", lambda one: one not in registry.disabled, head="STATE", text=state),
        Column("moves_money", lambda one: one.moves_money),
        Column("failed", lambda one: failures.get(one.name), head="FAILED"),
        Column("origin", lambda one: str(one.origin), head="ORIGIN"),
        Column("event_types", lambda one: list(one.types)),
        Column("deferred", lambda one: sorted(_deferred_types(one))),
    )


def _event_types(plugin: Plugin[Any]) -> str:
    """Return the event types of a plugin, and which of them are deferred."""
    deferred = _deferred_types(plugin)
    types = (f"{one} (deferred)" if one in deferred else one for one in plugin.types)
    return ", ".join(types) or "no event types"


def _deferred_types(plugin: Plugin[Any]) -> set[str]:
    registrations = {one: plugin.registration(one) for one in plugin.types}
    return {
        one for one, registration in registrations.items() if registration and registration.deferred
    }


def _failures_of_last_day(registry: Registry) -> tuple[dict[str, int], str | None]:
    """Return the number of failures by plugin, and a hint for the user if they are unknown."""
    try:
        settings = Settings.from_environment()
    except SettingsError:
        return {}, "FAILED: set the environment of `serve` to see the failures of the last day."
    url = settings.stripe_mongodb_url.get_secret_value()
    if url.startswith(MEMORY_URL):
        return (
            {},
            f"FAILED: {variable('stripe_mongodb_url')} is memory://, which keeps no failures.",
        )
    try:
        return asyncio.run(_count_failures(settings, registry)), None
    except (StartError, StoreUnavailable) as error:
        return {}, f"FAILED: {error}"


async def _count_failures(settings: Settings, registry: Registry) -> dict[str, int]:
    store = await connect(
        settings.stripe_mongodb_url.get_secret_value(),
        livemode=settings.livemode,
        driver=settings.stripe_mongodb_driver,
    )
    since = datetime.now(UTC) - _FAILURES_PERIOD
    try:
        names = [plugin.name for plugin in (*registry.plugins, *registry.disabled)]
        return {name: await store.events.unfinished(name, since) for name in names}
    finally:
        await store.close()


def new(name: str, types: tuple[str, ...], deferred: bool, directory: Path) -> None:
    """Write a package with a new plugin into a new folder."""
    from ..plugin_tools.package import write_package  # noqa: PLC0415 (only this command needs it)

    try:
        package = write_package(name, types, deferred=deferred, directory=directory)
    except StartError as error:
        fail(str(error))
    print_line(f"{package.folder}/")
    for path in package.files:
        print_line(f"  {path}")
    for event_type in package.unrecorded:
        print_line()
        print_paragraph(_UNRECORDED.format(event_type=event_type))
    print_line()
    for line in _NEXT.format(folder=shlex.quote(str(package.folder))).split("\n"):
        print_line(line)
    print_paragraph(_THEN)


def check(path: Path, output: Format) -> None:
    """Run the plugins at PATH on recorded events."""
    if importlib.util.find_spec("mongomock_motor") is None:
        fail('This command needs an extra: pip install "datalayer-stripe[testing]"')
    from ..plugin_tools.check import Check  # noqa: PLC0415 (needs the extra `testing`)
    from ..plugin_tools.sources import load_source  # noqa: PLC0415

    try:
        source = load_source(path)
    except StartError as error:
        fail(str(error))
    checked = Check(source, read_environment().values)
    if output is Format.TEXT:
        _print_check(checked, pluralize(len(source.plugins), "plugin"))
    else:
        results = [(case, checked.run_case(case)) for case in checked.cases]
        cases = as_records(_CASE_COLUMNS, results)
        report = {"cases": cases, "notes": checked.notes, "faults": checked.faults}
        print_rows(output, _CASE_COLUMNS, results, json=report)
    if checked.faults:
        sys.exit(1)


def _print_check(checked: "Check", plugins: str) -> None:
    """Run all cases, and print the results.

    Args:
        checked: The check.
        plugins: The number of plugins, in words.
    """
    number = _run_cases(checked)
    for note in checked.notes:
        print_line()
        print_message(note, prefix="Note: ")
    for fault in checked.faults:
        print_line()
        print_message(fault, prefix=styled("Fault: ", "red"))
    print_line()
    if checked.faults:
        print_line(f"{plugins}, {pluralize(len(checked.faults), 'fault')}.")
    else:
        print_line(f"No fault: {plugins}, {pluralize(number, 'event')} tried.")


def _run_cases(check: "Check") -> int:
    """Print the result of each case when it has ended, and return how many were run."""

    def row(case: "Case", result: str, seconds: str) -> list[Text]:
        cells = (case.plugin.name, case.event_type, result, seconds, case.source)
        return [styled(cell) for cell in cells]

    # The width of the columns before the results are known.
    widest = [row(case, "rejected", "") for case in check.cases]
    table = TablePrinter(_CASE_HEADS, widest)
    table.print_heads()
    number = 0
    for case in check.cases:
        verdict = check.run_case(case)
        seconds = "-" if verdict.seconds is None else f"{verdict.seconds:.1f}"
        table.print_row(row(case, verdict.result, seconds))
        number += verdict.seconds is not None
    return number
