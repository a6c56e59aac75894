"""The demo: the service and a local Stripe in one process, to use by hand or to watch."""

from .command import show_demo

__all__ = ["show_demo"]
