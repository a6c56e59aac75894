"""Which plugins run on which event type.

plugin = Plugin("top-up-credits")

@plugin.on("payment_intent.succeeded")
async def credit_account(event: Event, ctx: Context) -> None: ...
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from .errors import PluginError
from .events import Event

if TYPE_CHECKING:
    from .context import Context

ENTRY_POINT_GROUP = "datalayer_stripe.plugins"

PluginFunction = Callable[[Event, "Context"], Awaitable[None]]

# A name is a field of the event's document, where a dot or a dollar would be an operator's.
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_TYPE = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+")


class Plugin:
    """A named set of functions, at most one for an event type.

    `name` marks the events that it has finished, so a plugin keeps its name for life.
    Plugins of one event run by `order`, lowest first, and then by name.
    """

    def __init__(self, name: str, *, order: int = 100) -> None:
        if not _NAME.fullmatch(name):
            raise PluginError(
                f"Plugin {name!r}: a name has lower-case letters, digits and hyphens."
            )
        self.name = name
        self.order = order
        self._functions: dict[str, PluginFunction] = {}
        self._frozen = False

    @property
    def types(self) -> tuple[str, ...]:
        """The event types that it runs on."""
        return tuple(self._functions)

    def on(self, *types: str) -> Callable[[PluginFunction], PluginFunction]:
        """Run the decorated coroutine function on exactly these event types.

        Raises PluginError for a malformed or repeated type, for a function that is not `async`,
        and once the service has started. Types: docs.stripe.com/api/events/types.
        """

        def register(function: PluginFunction) -> PluginFunction:
            if not inspect.iscoroutinefunction(function):
                raise PluginError(f"Plugin {self.name!r}: write `async def` for its functions.")
            if not types:
                raise PluginError(f"Plugin {self.name!r}: `on` needs an event type.")
            for event_type in types:
                self._add(event_type, function)
            return function

        return register

    def function_for(self, event_type: str) -> PluginFunction:
        return self._functions[event_type]

    def freeze(self) -> None:
        self._frozen = True

    def _add(self, event_type: str, function: PluginFunction) -> None:
        if self._frozen:
            raise PluginError(f"Plugin {self.name!r}: too late for {event_type}, the service runs.")
        if not _TYPE.fullmatch(event_type):
            raise PluginError(f"Plugin {self.name!r}: {event_type!r} is no event type of Stripe's.")
        if event_type in self._functions:
            raise PluginError(f"Plugin {self.name!r}: {event_type} is taken by another function.")
        self._functions[event_type] = function

    def __repr__(self) -> str:
        return f"Plugin({self.name!r})"


class Registry:
    """The plugins of a running service: event type → plugins, in order. It never changes."""

    def __init__(self, plugins: Iterable[Plugin]) -> None:
        self.plugins = tuple(sorted(plugins, key=lambda plugin: (plugin.order, plugin.name)))
        self._by_type: dict[str, tuple[Plugin, ...]] = {}
        names = set()
        for plugin in self.plugins:
            if plugin.name in names:
                raise PluginError(f"Two plugins are named {plugin.name!r}: rename one.")
            names.add(plugin.name)
            plugin.freeze()
            for event_type in plugin.types:
                self._by_type[event_type] = (*self._by_type.get(event_type, ()), plugin)

    @classmethod
    def load(cls) -> "Registry":
        """Every plugin that an installed distribution names in the entry-point group.

        Raises PluginError for one that cannot be loaded: money is not best-effort.
        """
        plugins = []
        for entry_point in entry_points(group=ENTRY_POINT_GROUP):
            try:
                plugin = entry_point.load()
            except Exception as error:
                raise PluginError(
                    f"Plugin {entry_point.value} cannot be loaded: {error!r}"
                ) from error
            if not isinstance(plugin, Plugin):
                raise PluginError(f"{entry_point.value} is not a datalayer_stripe.Plugin.")
            plugins.append(plugin)
        if not plugins:
            raise PluginError(
                "No plugin is installed, not even the built-in ones. "
                'Install the package itself: pip install -e . or pip install "datalayer-stripe".'
            )
        return cls(plugins)

    @property
    def types(self) -> tuple[str, ...]:
        """The event types that have a plugin: what to send to the webhook endpoint."""
        return tuple(sorted(self._by_type))

    def plugins_for(self, event_type: str) -> tuple[Plugin, ...]:
        """The plugins that run on exactly this type, in order."""
        return self._by_type.get(event_type, ())
