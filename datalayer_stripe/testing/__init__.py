"""The test kit for plugin authors: see "Testing" in docs/plugins.md.

It has functions and a context manager for a plain `def test`. If pytest is installed, it also has
the fixtures `stripe_service` and `stripe_sandbox`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .exactly_once.check import assert_exactly_once
    from .harness import DeliveryResponse, PluginStatus
    from .plugin_service import PluginService
    from .recordings import load_event, recorded_event, recorded_types
    from .shop import ShopSandbox
    from .stripe_sandbox import StripeSandbox

__all__ = [
    "DeliveryResponse",
    "PluginService",
    "PluginStatus",
    "ShopSandbox",
    "StripeSandbox",
    "assert_exactly_once",
    "load_event",
    "recorded_event",
    "recorded_types",
]

_MODULES = {
    "DeliveryResponse": "harness",
    "PluginService": "plugin_service",
    "PluginStatus": "harness",
    "ShopSandbox": "shop",
    "StripeSandbox": "stripe_sandbox",
    "assert_exactly_once": "exactly_once.check",
    "load_event": "recordings",
    "recorded_event": "recordings",
    "recorded_types": "recordings",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use.

    pytest imports this package in every session of an environment that it is installed in.
    """
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
