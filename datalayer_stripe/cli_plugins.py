"""The commands about plugins."""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from .cli_support import fail, table
from .configuration import PluginSources
from .errors import StartError, StoreUnavailable
from .plugin import Plugin
from .registry import Registry
from .service import MONEY_AT_REST
from .settings import Settings, SettingsError
from .store import connect
from .store.connect import MEMORY_URL

_DAY = timedelta(days=1)
_HEADS = ("PLUGIN", "ORIGIN", "ORDER", "STATE", "FAILED", "EVENT", "DEFERRED")


@click.group()
def plugins() -> None:
    """What happens on each Stripe event."""


@plugins.command("list")
def list_plugins() -> None:
    """List the plugins, in their order, and the event types that they run on.

    FAILED counts the events of the last day that a plugin has failed or rejected, and not finished
    since. It needs the environment of `serve`; the rest needs none.
    """
    try:
        registry = PluginSources.from_environment().load()
    except (StartError, SettingsError) as error:
        fail(str(error))
    failed, hint = _failed_of_day(registry)
    table(_HEADS, [row for plugin in _all(registry) for row in _rows(plugin, registry, failed)])
    if hint:
        click.echo(f"\n{hint}")
    for name in registry.money_at_rest:
        click.echo(f"\nWARNING: {MONEY_AT_REST % name}.")
    for doubt in registry.doubts:
        click.echo(f"\nWARNING: {doubt}")
    click.echo("\nSend these event types to the webhook endpoint in Stripe's dashboard:")
    click.echo("\n".join(f"  {event_type}" for event_type in registry.types))


def _all(registry: Registry) -> tuple[Plugin[Any], ...]:
    return (*registry.plugins, *registry.switched_off)


def _rows(
    plugin: Plugin[Any], registry: Registry, failed: Mapping[str, int]
) -> Iterator[tuple[str, ...]]:
    state = "off" if plugin in registry.switched_off else "on"
    head: tuple[str, ...] = (
        plugin.name,
        str(plugin.origin),
        str(plugin.order),
        f"{state}, moves money" if plugin.moves_money else state,
        str(failed.get(plugin.name, "-")),
    )
    for event_type in plugin.types or ("-",):
        handling = plugin.handling(event_type)
        deferred = "yes" if handling is not None and handling.deferred else "no"
        yield (*head, event_type, deferred)
        head = ("",) * len(head)  # once for all its events


def _failed_of_day(registry: Registry) -> tuple[dict[str, int], str | None]:
    """What each plugin has failed, or nothing and why."""
    try:
        settings = Settings.from_environment()
    except SettingsError:
        return {}, "FAILED: set the environment of `serve` to see the failures of the last day."
    url = settings.stripe_mongodb_url.get_secret_value()
    if url.startswith(MEMORY_URL):
        return {}, "FAILED: DATALAYER_STRIPE_MONGODB_URL is memory://, which keeps no failures."
    try:
        return asyncio.run(_counted(url, registry, livemode=settings.livemode)), None
    except (StartError, StoreUnavailable) as error:
        return {}, f"FAILED: {error}"


async def _counted(url: str, registry: Registry, *, livemode: bool) -> dict[str, int]:
    store = await connect(url, livemode=livemode)
    since = datetime.now(UTC) - _DAY
    try:
        names = [plugin.name for plugin in _all(registry)]
        return {name: await store.events.unfinished(name, since) for name in names}
    finally:
        await store.close()
