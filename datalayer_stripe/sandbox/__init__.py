"""A local Stripe for tests and demonstrations, which the stock Stripe SDK talks to."""

from .errors import SandboxCardError, StripeError
from .overview import Shopfront
from .sandbox import Sandbox

__all__ = ["Sandbox", "SandboxCardError", "Shopfront", "StripeError"]
