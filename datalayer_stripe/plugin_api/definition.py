"""Define plugins: a name, a function for each event type, settings and a lifespan.

plugin = Plugin("top-up-credits", moves_money=True)

@plugin.on("payment_intent.succeeded")
async def credit_account(event: Event, ctx: Context) -> None: ...
"""

import inspect
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, Literal

from pydantic import BaseModel

from ..errors import PluginError
from ..events import Event
from .context import Context, LifespanContext, S

PluginFunction = Callable[[Event, Context[S]], Coroutine[Any, Any, None]]
PluginLifespan = Callable[[LifespanContext[S]], AsyncIterator[Any]]

# Below the deadline of the answer, so that a plugin is cut before Stripe gives up on the delivery.
DEFAULT_TIMEOUT_SECONDS = 5.0
MAX_TIMEOUT_SECONDS = 10.0
DEFAULT_DEFERRED_TIMEOUT_SECONDS = 60.0
MAX_DEFERRED_TIMEOUT_SECONDS = 600.0

# A name is a field of the event's document, where MongoDB gives dots and dollars a meaning.
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_TYPE = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)+")


@dataclass(frozen=True)
class Origin:
    """Where a plugin comes from.

    `name` is the name of a distribution or a file; a file has no version.
    """

    kind: Literal["built-in", "package", "file", "code"]
    name: str
    version: str | None = None

    def __str__(self) -> str:
        name = self.kind if self.kind == "built-in" else self.name
        return f"{name} {self.version}" if self.version else name


@dataclass(frozen=True)
class Registration(Generic[S]):
    """A plugin's function for an event type, and how it runs.

    `seconds` is the time limit of a run.
    """

    function: PluginFunction[S]
    deferred: bool
    seconds: float


class Plugin(Generic[S]):
    """A named set of functions, at most one for each event type.

    Args:
        name: Marks the events that the plugin has finished, so it must never change. Lower-case
            letters, digits and hyphens.
        order: The plugins of one event type run in this order, the lowest first. Plugins of the
            same order run concurrently.
        timeout: The time limit of a run, in seconds; 10 at most.
        moves_money: Whether it adds or takes back credits. Plugins that do run before all others,
            and the others wait until these have finished the event.
        catch_up: Whether reconciliation also gives it events from before it was first installed.
        only_records: Whether a run has no effect but the writes that it records, so that it calls
            neither Stripe nor another service. Such a plugin may run again on an event that it has
            finished: the commit finds that the mark is set. This saves a read for each delivery.
        settings: A pydantic model, filled from `DATALAYER_STRIPE_PLUGIN_<NAME>_<FIELD>`.

    Raises:
        PluginError: An argument is not valid.
    """

    def __init__(
        self,
        name: str,
        *,
        order: int = 100,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        moves_money: bool = False,
        catch_up: bool = False,
        only_records: bool = False,
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
        self.only_records = only_records
        if settings is not None and not (
            isinstance(settings, type) and issubclass(settings, BaseModel)
        ):
            raise self._error("its settings must be a class derived from pydantic.BaseModel")
        self.settings = settings
        self.origin = Origin("code", "code")
        self.lifespan_function: PluginLifespan[S] | None = None
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

        Args:
            types: Event types, such as `invoice.paid`: https://docs.stripe.com/api/events/types
            deferred: Whether it runs after the delivery has been answered, and again until it
                succeeds.
            timeout: The time limit of a run, in seconds. The plugin's own by default. For deferred
                functions 60 by default, and 600 at most.

        Raises:
            PluginError: A type is malformed or registered already, the function is not `async` or
                does not take an event and a context, or the service has started.
        """
        if timeout is None:
            timeout = DEFAULT_DEFERRED_TIMEOUT_SECONDS if deferred else self.timeout
        longest = MAX_DEFERRED_TIMEOUT_SECONDS if deferred else MAX_TIMEOUT_SECONDS
        seconds = self._checked(timeout, longest)

        def register(function: PluginFunction[S]) -> PluginFunction[S]:
            if not inspect.iscoroutinefunction(function):
                raise self._error("define its functions with `async def`")
            if not _takes_event_and_context(function):
                raise self._error("define its functions with the arguments `(event, ctx)`")
            if not types:
                raise self._error("`on` needs an event type")
            for event_type in types:
                self._add(event_type, Registration(function, deferred, seconds))
            return function

        return register

    def lifespan(self, function: PluginLifespan[S]) -> PluginLifespan[S]:
        """Run the decorated asynchronous generator function around the service's life.

        What comes before its `yield` runs before the first event, in each process. What it yields
        is `ctx.state` in the plugin's runs. What comes after the `yield` runs after the last event.

        Args:
            function: Takes a `LifespanContext` and yields once.

        Raises:
            PluginError: It is no asynchronous generator function, the plugin has a lifespan
                already, or the service has started.
        """
        if not inspect.isasyncgenfunction(function):
            raise self._error("define its lifespan with `async def` and one `yield`")
        if self._frozen:
            raise self._error("a lifespan must be defined before the service starts")
        if self.lifespan_function is not None:
            raise self._error("it has a lifespan already, and can have only one")
        self.lifespan_function = function
        return function

    def registration(self, event_type: str) -> Registration[S] | None:
        """Return its function for this event type and how it runs, or None if it has none."""
        return self._registrations.get(event_type)

    @property
    def max_timeout(self) -> float:
        """The longest time limit of its functions, in seconds."""
        return max((one.seconds for one in self._registrations.values()), default=self.timeout)

    @property
    def needs_isolation(self) -> bool:
        """Whether it runs in a task of its own, with a copy of the event and a time limit.

        A built-in plugin that only records needs none of them.
        """
        return not (self.only_records and self.origin.kind == "built-in")

    def freeze(self) -> None:
        """Refuse further functions from now on."""
        self._frozen = True

    def _add(self, event_type: str, registration: Registration[S]) -> None:
        if self._frozen:
            raise self._error(f"{event_type} must be registered before the service starts")
        if not _TYPE.fullmatch(event_type):
            raise self._error(f"{event_type!r} is not an event type of Stripe")
        if event_type in self._registrations:
            raise self._error(f"{event_type} has another function already")
        self._registrations[event_type] = registration

    def _checked(self, seconds: float, longest: float) -> float:
        if not 0 < seconds <= longest:
            immediate = longest == MAX_TIMEOUT_SECONDS
            hint = "; use `deferred=True` for what takes longer" if immediate else ""
            raise self._error(f"a timeout is more than 0 and at most {longest:g} seconds{hint}")
        return seconds

    def _error(self, what: str) -> PluginError:
        return PluginError(f"Plugin {self.name!r}: {what}.")

    def __repr__(self) -> str:
        return f"Plugin({self.name!r})"


def _takes_event_and_context(function: Callable[..., object]) -> bool:
    """Return whether a function can be called with the two arguments of a run."""
    # What a decorator has wrapped may take other arguments.
    signature = inspect.signature(function, follow_wrapped=False)
    try:
        signature.bind("event", "ctx")
    except TypeError:
        return False
    return True
