"""Sell prepaid credits on Stripe: the names that plugins use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .errors import Reject, Retry
    from .events import Event
    from .models import TopUp
    from .plugin_api.context import Context, HookContext
    from .plugin_api.definition import Plugin

__all__ = [
    "Context",
    "Event",
    "HookContext",
    "Plugin",
    "Reject",
    "Retry",
    "TopUp",
    "__version__",
]

_MODULES = {
    "Context": "plugin_api.context",
    "Event": "events",
    "HookContext": "plugin_api.context",
    "Plugin": "plugin_api.definition",
    "Reject": "errors",
    "Retry": "errors",
    "TopUp": "models",
}


def __getattr__(name: str) -> Any:
    """Import a name at its first use: pytest imports this package in everybody's sessions."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Tell a Jupyter Server what to load; it alone asks.

    jupyter-server.readthedocs.io/en/stable/developers/extensions.html
    """
    from .jupyter.extension import DatalayerStripe  # noqa: PLC0415 (jupyter_server is an extra)

    return [{"module": "datalayer_stripe.jupyter.extension", "app": DatalayerStripe}]
