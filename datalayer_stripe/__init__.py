"""Sell prepaid credits on Stripe: the names that plugins use."""

from typing import Any

from ._version import __version__
from .context import Context, HookContext
from .errors import Reject, Retry
from .events import Event
from .models import TopUp
from .plugin import Plugin

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


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Tell a Jupyter Server what to load; it alone asks.

    jupyter-server.readthedocs.io/en/stable/developers/extensions.html
    """
    from .jupyter.extension import DatalayerStripe  # noqa: PLC0415 (jupyter_server is an extra)

    return [{"module": "datalayer_stripe.jupyter.extension", "app": DatalayerStripe}]
