"""Sell prepaid credits on Stripe: the names that plugins use."""

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
