"""The test kit for plugin authors: docs/plugins.md, "Testing".

Plain functions and a context manager for a plain `def test`; with pytest installed, the fixtures
`stripe_service` and `stripe_sandbox` beside them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .exactly_once.check import assert_exactly_once
    from .harness import Answer, Handled
    from .plugin_service import PluginService
    from .recordings import load_event, recorded_event, recorded_types
    from .shop import ShopSandbox
    from .stripe_sandbox import StripeSandbox

__all__ = [
    "Answer",
    "Handled",
    "PluginService",
    "ShopSandbox",
    "StripeSandbox",
    "assert_exactly_once",
    "load_event",
    "recorded_event",
    "recorded_types",
]

_MODULES = {
    "Answer": "harness",
    "Handled": "harness",
    "PluginService": "plugin_service",
    "ShopSandbox": "shop",
    "StripeSandbox": "stripe_sandbox",
    "assert_exactly_once": "exactly_once.check",
    "load_event": "recordings",
    "recorded_event": "recordings",
    "recorded_types": "recordings",
}


def __getattr__(name: str) -> Any:
    """Import a name at its first use: pytest imports this package in everybody's sessions."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
