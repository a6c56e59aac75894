"""The commands for those who write plugins: `plugins new` and `plugins check`."""

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
    "No recording of {event_type} comes with datalayer-stripe: its event in tests/events is made "
    "up, and the least that is one. README.md says how to put what Stripe sends in its place."
)

_NEXT = """
Next, in a virtual environment:

  cd {folder}
  pip install --editable ".[test]"
  pytest

`datalayer-stripe plugins check .` tries what you make of it. README.md tells the rest."""


@click.command("new")
@click.argument("name")
@click.option(
    "--on",
    "types",
    metavar="TYPE",
    multiple=True,
    help="An event type that it runs on; several by --on A --on B. "
    "[default: payment_intent.succeeded]",
)
@click.option("--deferred", is_flag=True, help="Run after the delivery has been answered.")
@click.option(
    "--directory",
    type=click.Path(exists=True, file_okay=False, writable=True, path_type=Path),
    default=".",
    help="Where the package's folder is made.",
)
def new(name: str, types: tuple[str, ...], deferred: bool, directory: Path) -> None:
    """Write a package with a new plugin in it.

    NAME is that of the package and of the plugin: lower-case letters, digits and hyphens. The
    package has a README, an event to try the plugin on, and a test that passes at once. The plugin
    counts the events of its types, until you change it. Types:
    https://docs.stripe.com/api/events/types.

    Nothing is overwritten. Exit code 2 and a line for what will not do.
    """
    from ..plugin_tools.package import write_package  # noqa: PLC0415 (few need it)

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
    """Try the plugins at PATH on recorded events.

    PATH is a plugin's file, a folder of such files, or a package's folder, whose pyproject.toml
    names the plugins; it need not be installed. They are loaded as at the start of the service,
    beside the installed ones. Settings are read from the environment, as the service reads them.

    An event is delivered several times, at once, and cut off at each step; deferred work is run.
    Events come with this command; those in tests/events/*.json beside the plugin are tried, too.
    No Stripe account and no database are needed. But what a plugin calls outside IS CALLED, many
    times: let its settings lead to something harmless.

    Exit code 0: all is right. 1: something is wrong. 2: it cannot be loaded.
    """
    if importlib.util.find_spec("mongomock_motor") is None:
        fail('To try plugins needs an extra: pip install "datalayer-stripe[testing]"')
    from ..plugin_tools.check import Check  # noqa: PLC0415 (few need it, and it needs the extra)
    from ..plugin_tools.sources import load_source  # noqa: PLC0415

    try:
        source = load_source(path)
    except StartError as error:
        fail(str(error))
    found = Check(source, os.environ)
    tried = _try_all(found)
    for note in found.notes:
        click.echo(f"\nNote: {note}")
    for fault in found.faults:
        click.echo(f"\nFault: {fault}")
    plugins = counted(len(source.plugins), "plugin")
    if found.faults:
        click.echo(f"\n{plugins}, {counted(len(found.faults), 'fault')}.")
        sys.exit(1)
    click.echo(f"\nNo fault: {plugins}, {counted(tried, 'event')} tried.")


def _try_all(found: "Check") -> int:
    """Print a line for each case when it has ended, and return how many were tried."""
    rows = [(case.plugin.name, case.event_type, case.source) for case in found.cases]
    widths = [max(map(len, column)) for column in zip(_HEADS[:3], *rows, strict=True)]
    line = "  ".join(f"{{:<{width}}}" for width in (*widths, len("rejected"), 0)).format
    click.echo(line(*_HEADS))
    tried = 0
    for row, case in zip(rows, found.cases, strict=True):
        verdict = found.try_case(case)
        seconds = "-" if verdict.seconds is None else f"{verdict.seconds:.1f}"
        click.echo(line(*row, verdict.result, seconds))
        tried += verdict.seconds is not None
    return tried
