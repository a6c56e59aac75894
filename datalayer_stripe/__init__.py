"""Sell prepaid credits on Stripe. These are the names that plugins import."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .errors import Defer, Reject, Retry
    from .events import Event
    from .models import TopUp
    from .plugin_api.context import Context, LifespanContext
    from .plugin_api.definition import Plugin

__all__ = [
    "Context",
    "Defer",
    "Event",
    "LifespanContext",
    "Plugin",
    "Reject",
    "Retry",
    "TopUp",
    "__version__",
]

_MODULES = {
    "Context": "plugin_api.context",
    "Defer": "errors",
    "Event": "events",
    "LifespanContext": "plugin_api.context",
    "Plugin": "plugin_api.definition",
    "Reject": "errors",
    "Retry": "errors",
    "TopUp": "models",
}


def __getattr__(name: str) -> Any:
    """Import a name at its first use.

    The test kit is a pytest plugin, so pytest imports this package in projects that do not use it.
    """
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Return the server extension that a Jupyter Server loads.

    https://jupyter-server.readthedocs.io/en/stable/developers/extensions.html
    """
    from .jupyter.extension import DatalayerStripe  # noqa: PLC0415 (jupyter_server is an extra)

    return [{"module": "datalayer_stripe.jupyter.extension", "app": DatalayerStripe}]
