"""The type of a Stripe object."""

from typing import Any

Object = dict[str, Any]
