"""Checks of the plugins."""

from collections.abc import Sequence

from ..settings import variable
from .checks import Subject
from .context import CheckContext

SUBJECT = Subject("plugins")


@SUBJECT.error(
    "load",
    "All plugins can be loaded.",
    advice="Do what the line says. `datalayer-stripe plugins list` loads them again.",
)
async def load(context: CheckContext) -> Sequence[str]:
    return [] if context.plugin_error is None else [context.plugin_error]


@SUBJECT.error(
    "money",
    "No plugin that moves money is disabled.",
    advice=f"Remove its name from {variable('stripe_plugins_disabled')}, start the service again, "
    "and run `datalayer-stripe reconcile`.",
)
async def money(context: CheckContext) -> Sequence[str]:
    return [
        f"{name} is disabled: its credits are not added or taken back."
        for name in context.registry.disabled_money_plugins
    ]


@SUBJECT.warning(
    "event-types",
    "Stripe has the event types of all plugins.",
    advice="Correct the event type in the plugin. If Stripe has just added it, update the "
    "package `stripe`.",
)
async def event_types(context: CheckContext) -> Sequence[str]:
    return context.registry.unknown_type_warnings
