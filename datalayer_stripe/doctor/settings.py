"""Checks of the environment variables. No Stripe account or database is needed."""

import difflib
from collections.abc import Sequence

from ..plugin_api.settings import PREFIX as PLUGIN_PREFIX
from ..plugin_api.settings import variable as plugin_variable
from ..settings import Settings, variable
from ..settings_fields import variable_of
from ..store.connect import MEMORY_URL
from .checks import Subject
from .context import CheckContext

SUBJECT = Subject("settings")

PREFIX = "DATALAYER_STRIPE_"
"""The variables with this prefix are this service's own."""

# Variables of the test kit and of this project's tests.
_TEST_PREFIXES = ("DATALAYER_STRIPE_TEST_", "DATALAYER_STRIPE_TESTING_")


@SUBJECT.error(
    "variables",
    "All settings are set, in the right form.",
    advice="Correct the variable as its line says, and start the service again.",
)
async def variables(context: CheckContext) -> Sequence[str]:
    return [str(fault).rstrip(".") + "." for fault in context.faults]


@SUBJECT.warning(
    "names",
    "No variable of this service is misspelt.",
    advice="Rename the variable, or remove it: the service does not read it.",
)
async def names(context: CheckContext) -> Sequence[str]:
    known = [*_own_variables(), *_plugin_variables(context)]
    unknown = [
        name
        for name in sorted(context.environ)
        if name.startswith(PREFIX) and name not in known and not name.startswith(_TEST_PREFIXES)
    ]
    if context.found_registry is None:
        # Without the plugins, their variables are not known.
        unknown = [name for name in unknown if not name.startswith(PLUGIN_PREFIX)]
    return [f"There is no variable {name}.{_suggestion(name, known)}" for name in unknown]


@SUBJECT.warning(
    "hidden-files",
    "No variable hides a secret file.",
    advice="Remove the variable from the environment, so that the service reads the file, or "
    "remove the file.",
)
async def hidden_files(context: CheckContext) -> Sequence[str]:
    if not context.hidden_files:
        return []
    folder, names = variable("stripe_secrets_dir"), ", ".join(sorted(context.hidden_files))
    return [f"Files of {folder} are not read, because variables have other values: {names}."]


@SUBJECT.warning(
    "database-kept",
    "The database survives the end of `serve`.",
    advice=f"Set {variable('stripe_mongodb_url')} to the URL of a MongoDB replica set before "
    "anybody pays.",
)
async def database_kept(context: CheckContext) -> Sequence[str]:
    if context.settings.stripe_mongodb_url.get_secret_value().startswith(MEMORY_URL):
        return ["The database is memory://: all credits are lost when the service ends."]
    return []


@SUBJECT.warning(
    "stripe-address",
    "A live key is used with Stripe's own address.",
    advice=f"Unset {variable('stripe_api_base')}: it is for tests.",
)
async def stripe_address(context: CheckContext) -> Sequence[str]:
    if context.settings.livemode and context.settings.stripe_api_base is not None:
        return [f"The key is live, and {variable('stripe_api_base')} is not Stripe's own address."]
    return []


def _own_variables() -> list[str]:
    return [variable_of(field) for field in Settings.model_fields.values()]


def _plugin_variables(context: CheckContext) -> list[str]:
    registry = context.found_registry
    if registry is None:
        return []
    return [
        plugin_variable(plugin.name, field)
        for plugin in (*registry.plugins, *registry.disabled)
        if plugin.settings is not None
        for field in plugin.settings.model_fields
    ]


def _suggestion(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {near[0]}?" if near else ""
