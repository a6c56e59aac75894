"""The demo: the service and a local Stripe in one process, with a story that checks them."""

from .command import run_demo

__all__ = ["run_demo"]
