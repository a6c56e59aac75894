"""The commands for plugin authors: `plugins new` and `plugins check`."""

import importlib.util
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import StartError
from .common import counted, fail

if TYPE_CHECKING:
    from ..plugin_tools.check import Check

_HEADS = ("PLUGIN", "EVENT", "FROM", "RESULT", "SECONDS")

_UNRECORDED = (
    "datalayer-stripe has no recorded event of the type {event_type}, so the one in tests/events "
    "is a placeholder. Replace it with an event from Stripe: README.md says how."
)

_NEXT = """
Next, in a virtual environment:

  cd {folder}
  pip install --editable ".[test]"
  pytest

Then change the plugin, and run `datalayer-stripe plugins check .`. See README.md for more."""


@click.command("new")
@click.argument("name")
@click.option(
    "--on",
    "types",
    metavar="TYPE",
    multiple=True,
    help="An event type that the plugin runs on; repeat the option for several types. "
    "[default: payment_intent.succeeded]",
)
@click.option("--deferred", is_flag=True, help="Run after the delivery has been answered.")
@click.option(
    "--directory",
    type=click.Path(exists=True, file_okay=False, writable=True, path_type=Path),
    default=".",
    help="The parent of the new folder.",
)
def new(name: str, types: tuple[str, ...], deferred: bool, directory: Path) -> None:
    """Write a package with a new plugin into a new folder.

    NAME is the name of the package and of the plugin: lower-case letters, digits and hyphens. The
    package contains a README, an event, and tests that pass. The plugin counts the events of its
    types, until you change it. Event types: https://docs.stripe.com/api/events/types.

    Nothing is overwritten. Exit code 2: the name or a type is not allowed, or the folder exists.
    """
    from ..plugin_tools.package import write_package  # noqa: PLC0415 (only this command needs it)

    try:
        package = write_package(name, types, deferred=deferred, directory=directory)
    except StartError as error:
        fail(str(error))
    click.echo(f"{package.folder}/")
    for path in package.files:
        click.echo(f"  {path}")
    for event_type in package.unrecorded:
        click.echo("\n" + _UNRECORDED.format(event_type=event_type))
    click.echo(_NEXT.format(folder=shlex.quote(str(package.folder))))


@click.command("check")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
def check(path: Path) -> None:
    """Run the plugins at PATH on recorded events.

    PATH is a plugin's file, a folder of such files, or the folder of a package whose pyproject.toml
    names the plugins; the package need not be installed. The plugins are loaded as at the start of
    the service, together with the installed ones. Their settings are read from the environment.

    Each event is delivered several times, concurrently, and interrupted at each step; deferred
    work is run. The command uses its own recorded events, and those in tests/events/*.json beside
    the plugin. You need no Stripe account and no database. But a plugin REALLY CALLS external
    services, many times: point its settings to a harmless target.

    Exit code 0: no fault. 1: a plugin has a fault. 2: a plugin cannot be loaded.
    """
    if importlib.util.find_spec("mongomock_motor") is None:
        fail('This command needs an extra: pip install "datalayer-stripe[testing]"')
    from ..plugin_tools.check import Check  # noqa: PLC0415 (needs the extra `testing`)
    from ..plugin_tools.sources import load_source  # noqa: PLC0415

    try:
        source = load_source(path)
    except StartError as error:
        fail(str(error))
    checked = Check(source, os.environ)
    number = _run_cases(checked)
    for note in checked.notes:
        click.echo(f"\nNote: {note}")
    for fault in checked.faults:
        click.echo(f"\nFault: {fault}")
    plugins = counted(len(source.plugins), "plugin")
    if checked.faults:
        click.echo(f"\n{plugins}, {counted(len(checked.faults), 'fault')}.")
        sys.exit(1)
    click.echo(f"\nNo fault: {plugins}, {counted(number, 'event')} tried.")


def _run_cases(check: "Check") -> int:
    """Print the result of each case when it has ended, and return how many were run."""
    rows = [(case.plugin.name, case.event_type, case.source) for case in check.cases]
    widths = [max(map(len, column)) for column in zip(_HEADS[:3], *rows, strict=True)]
    line = "  ".join(f"{{:<{width}}}" for width in (*widths, len("rejected"), 0)).format
    click.echo(line(*_HEADS))
    number = 0
    for row, case in zip(rows, check.cases, strict=True):
        verdict = check.run_case(case)
        seconds = "-" if verdict.seconds is None else f"{verdict.seconds:.1f}"
        click.echo(line(*row, verdict.result, seconds))
        number += verdict.seconds is not None
    return number
