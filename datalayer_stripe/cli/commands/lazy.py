"""Import the work of a command at its use."""

import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any

_PACKAGE = __package__.rpartition(".")[0]


def runs(target: str) -> Callable[[Callable[[], None]], Callable[..., Any]]:
    """Return a decorator for a command without a body: it runs a function of another module.

    The module is imported when the command runs. So `--help` and completion import neither
    Stripe's SDK nor the MongoDB driver nor anything else of the service.

    Args:
        target: The module in the package above and the function, such as `events:list_events`. The
            function gets the command's options and arguments.
    """

    def decorate(declaration: Callable[[], None]) -> Callable[..., Any]:
        @functools.wraps(declaration)
        def run(**parameters: Any) -> Any:
            return load(target)(**parameters)

        run.__dict__["target"] = target
        return run

    return decorate


def load(target: str) -> Callable[..., Any]:
    """Import a target of :func:`runs`, and return the function."""
    module, _, name = target.partition(":")
    function: Callable[..., Any] = getattr(import_module(f".{module}", _PACKAGE), name)
    return function
