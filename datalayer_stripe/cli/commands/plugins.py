"""The commands `plugins list`, `new` and `check`."""

from pathlib import Path

import click

from ..output.formats import format_options
from .lazy import runs
from .options import event_type_values


@click.group()
def plugins() -> None:
    """List, write and check plugins."""


@plugins.command("list", short_help="List the plugins and their event types.")
@format_options
@runs("plugins:list_plugins")
def list_plugins() -> None:
    """List the plugins in the order in which they run, each with its event types.

    The column FAILED has the number of events of the last day that the plugin failed or rejected
    and has not finished since. It needs the environment variables of `serve`; the other columns do
    not.
    """


@plugins.command("new")
@click.argument("name")
@click.option(
    "--on",
    "types",
    metavar="TYPE",
    multiple=True,
    shell_complete=event_type_values,
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
@runs("plugins:new")
def new() -> None:
    """Write a package with a new plugin into a new folder.

    NAME is the name of the package and of the plugin: lower-case letters, digits and hyphens. The
    package contains a README, an event, and tests that pass. The plugin counts the events of its
    types, until you change it. Event types: https://docs.stripe.com/api/events/types.

    Nothing is overwritten. Exit code 2: the name or a type is not allowed, or the folder exists.
    """


@plugins.command("check")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@format_options
@runs("plugins:check")
def check() -> None:
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
