"""The commands about plugins."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from ..configuration import PluginSources
from ..errors import SettingsError, StartError, StoreUnavailable
from ..plugin_api.definition import Plugin
from ..plugin_api.registry import Registry
from ..service import DISABLED_MONEY_PLUGIN
from ..settings import Settings, variable
from ..store import connect
from ..store.connect import MEMORY_URL
from .common import detail, fail, print_json, table

_DAY = timedelta(days=1)
_HEADS = ("PLUGIN", "ORDER", "STATE", "FAILED", "ORIGIN")


@click.group()
def plugins() -> None:
    """What happens on each Stripe event."""


@plugins.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_plugins(as_json: bool) -> None:
    """List the plugins, in their order, and below each the event types that it runs on.

    FAILED counts the events of the last day that a plugin has failed or rejected, and not finished
    since. It needs the environment of `serve`; the rest needs none.
    """
    try:
        registry = PluginSources.from_environment().load()
    except StartError as error:
        fail(str(error))
    failed, hint = _failed_of_day(registry)
    if as_json:
        print_json(
            {
                "plugins": [_described(one, registry, failed) for one in _all(registry)],
                "event_types": list(registry.types),
            }
        )
        return
    details = iter(map(_events, _all(registry)))
    table(
        _HEADS,
        [_row(plugin, registry, failed) for plugin in _all(registry)],
        after_row=lambda: detail(next(details)),
    )
    if hint:
        click.echo(f"\n{hint}")
    for name in registry.disabled_money_plugins:
        click.echo(f"\nWARNING: {DISABLED_MONEY_PLUGIN % name}.")
    for doubt in registry.unknown_type_warnings:
        click.echo(f"\nWARNING: {doubt}")
    click.echo("\nSend these event types to the webhook endpoint in Stripe's dashboard:")
    click.echo("\n".join(f"  {event_type}" for event_type in registry.types))


def _all(registry: Registry) -> tuple[Plugin[Any], ...]:
    return (*registry.plugins, *registry.disabled)


def _row(plugin: Plugin[Any], registry: Registry, failed: Mapping[str, int]) -> tuple[str, ...]:
    state = "off" if plugin in registry.disabled else "on"
    return (
        plugin.name,
        str(plugin.order),
        f"{state}, moves money" if plugin.moves_money else state,
        str(failed.get(plugin.name, "-")),
        str(plugin.origin),
    )


def _events(plugin: Plugin[Any]) -> str:
    """Return the event types of a plugin, and which of them are deferred."""
    deferred = _deferred(plugin)
    types = (f"{one} (deferred)" if one in deferred else one for one in plugin.types)
    return ", ".join(types) or "no event types"


def _deferred(plugin: Plugin[Any]) -> set[str]:
    registrations = {one: plugin.registration(one) for one in plugin.types}
    return {
        one for one, registration in registrations.items() if registration and registration.deferred
    }


def _described(
    plugin: Plugin[Any], registry: Registry, failed: Mapping[str, int]
) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "origin": str(plugin.origin),
        "order": plugin.order,
        "on": plugin not in registry.disabled,
        "moves_money": plugin.moves_money,
        "failed": failed.get(plugin.name),
        "event_types": list(plugin.types),
        "deferred": sorted(_deferred(plugin)),
    }


def _failed_of_day(registry: Registry) -> tuple[dict[str, int], str | None]:
    """What each plugin has failed, or nothing and why."""
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
