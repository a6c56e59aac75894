"""What a plugin is: a name, its functions by event type, and what it asks of the service.

plugin = Plugin("top-up-credits", moves_money=True)

@plugin.on("payment_intent.succeeded")
async def credit_account(event: Event, ctx: Context) -> None: ...
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal

from pydantic import BaseModel
from typing_extensions import TypeVar

from ..errors import PluginError
from ..events import Event

if TYPE_CHECKING:
    from .context import Context, HookContext

S = TypeVar("S", default=None)
"""A plugin's own settings: its pydantic model, or None where it has none."""

PluginFunction = Callable[[Event, "Context[S]"], Coroutine[Any, Any, None]]
PluginHook = Callable[["HookContext[S]"], Coroutine[Any, Any, None]]

# Below the answer's own deadline, so that a plugin is cut before Stripe gives up on the delivery.
DEFAULT_TIMEOUT_SECONDS = 5.0
MAX_TIMEOUT_SECONDS = 10.0
DEFAULT_DEFERRED_TIMEOUT_SECONDS = 60.0
MAX_DEFERRED_TIMEOUT_SECONDS = 600.0

# A name is a field of the event's document, where a dot or a dollar would be an operator's.
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_TYPE = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+")


@dataclass(frozen=True)
class Origin:
    """Where a plugin comes from: `name` is a distribution's or a file's; a file has no version."""

    kind: Literal["built-in", "package", "file", "code"]
    name: str
    version: str | None = None

    def __str__(self) -> str:
        name = self.kind if self.kind == "built-in" else self.name
        return f"{name} {self.version}" if self.version else name


@dataclass(frozen=True)
class Registration(Generic[S]):
    """What a plugin does on an event type, and how: `seconds` is its time limit."""

    function: PluginFunction[S]
    deferred: bool
    seconds: float


class Plugin(Generic[S]):
    """A named set of functions, at most one for an event type.

    `name` marks the events that it has finished, so a plugin keeps its name for life.
    Plugins of one event run by `order`, lowest first; those of one order run at once. Those that
    declare that they move money run before all others.
    `timeout` is how many seconds a run may take, 10 at most.
    With `catch_up`, reconciliation also gives it events from before it was first installed.
    `settings` is a pydantic model, filled from `DATALAYER_STRIPE_PLUGIN_<NAME>_<FIELD>`.

    Raises PluginError for what is malformed.
    """

    def __init__(
        self,
        name: str,
        *,
        order: int = 100,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        moves_money: bool = False,
        catch_up: bool = False,
        settings: type[S] | None = None,
    ) -> None:
        if not _NAME.fullmatch(name):
            raise PluginError(
                f"Plugin {name!r}: a name has lower-case letters, digits and hyphens."
            )
        self.name = name
        self.order = order
        self.timeout = self._checked(timeout, MAX_TIMEOUT_SECONDS)
        self.moves_money = moves_money
        self.catch_up = catch_up
        if settings is not None and not (
            isinstance(settings, type) and issubclass(settings, BaseModel)
        ):
            raise self._error("its settings are a class derived from pydantic.BaseModel")
        self.settings = settings
        self.origin = Origin("code", "code")
        self.start_hook: PluginHook[S] | None = None
        self.stop_hook: PluginHook[S] | None = None
        self._registrations: dict[str, Registration[S]] = {}
        self._frozen = False

    @property
    def types(self) -> tuple[str, ...]:
        """The event types that it runs on."""
        return tuple(self._registrations)

    def on(
        self, *types: str, deferred: bool = False, timeout: float | None = None
    ) -> Callable[[PluginFunction[S]], PluginFunction[S]]:
        """Run the decorated coroutine function on exactly these event types.

        A `deferred` one runs after the delivery has been answered, and again until it succeeds;
        it may take `timeout` seconds, 60 unless told otherwise and 600 at most.

        Raises PluginError for a malformed or repeated type, for a function that is not `async`,
        and once the service has started. Types: docs.stripe.com/api/events/types.
        """
        if timeout is None:
            timeout = DEFAULT_DEFERRED_TIMEOUT_SECONDS if deferred else self.timeout
        longest = MAX_DEFERRED_TIMEOUT_SECONDS if deferred else MAX_TIMEOUT_SECONDS
        seconds = self._checked(timeout, longest)

        def register(function: PluginFunction[S]) -> PluginFunction[S]:
            self._check_async(function)
            if not types:
                raise self._error("`on` needs an event type")
            for event_type in types:
                self._add(event_type, Registration(function, deferred, seconds))
            return function

        return register

    def on_start(self, hook: PluginHook[S]) -> PluginHook[S]:
        """Run the decorated coroutine function before the first event, in each process.

        Raises PluginError for a second one, for one that is not `async`, and once it is too late.
        """
        self._check_hook(hook, self.start_hook)
        self.start_hook = hook
        return hook

    def on_stop(self, hook: PluginHook[S]) -> PluginHook[S]:
        """Run the decorated coroutine function after the last event; else as :meth:`on_start`."""
        self._check_hook(hook, self.stop_hook)
        self.stop_hook = hook
        return hook

    def registration(self, event_type: str) -> Registration[S] | None:
        """What it does on this event type; None where it does nothing."""
        return self._registrations.get(event_type)

    @property
    def defers(self) -> bool:
        """Whether one of its functions is deferred."""
        return any(one.deferred for one in self._registrations.values())

    @property
    def max_timeout(self) -> float:
        """The longest time limit of its functions."""
        return max((one.seconds for one in self._registrations.values()), default=self.timeout)

    def freeze(self) -> None:
        """Refuse further functions and hooks; called when the service starts."""
        self._frozen = True

    def _add(self, event_type: str, registration: Registration[S]) -> None:
        if self._frozen:
            raise self._error(f"too late for {event_type}, the service runs")
        if not _TYPE.fullmatch(event_type):
            raise self._error(f"{event_type!r} is no event type of Stripe's")
        if event_type in self._registrations:
            raise self._error(f"{event_type} is taken by another function")
        self._registrations[event_type] = registration

    def _check_hook(self, hook: PluginHook[S], former: PluginHook[S] | None) -> None:
        self._check_async(hook)
        if self._frozen:
            raise self._error("too late for a hook, the service runs")
        if former is not None:
            raise self._error("it has such a hook already, and one is all it can have")

    def _check_async(self, function: Callable[..., Any]) -> None:
        if not inspect.iscoroutinefunction(function):
            raise self._error("write `async def` for its functions")

    def _checked(self, seconds: float, longest: float) -> float:
        if not 0 < seconds <= longest:
            immediate = longest == MAX_TIMEOUT_SECONDS
            hint = "; `deferred=True` is for what takes longer" if immediate else ""
            raise self._error(f"a timeout is more than 0 and at most {longest:g} seconds{hint}")
        return seconds

    def _error(self, what: str) -> PluginError:
        return PluginError(f"Plugin {self.name!r}: {what}.")

    def __repr__(self) -> str:
        return f"Plugin({self.name!r})"
