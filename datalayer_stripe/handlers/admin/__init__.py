"""Handlers of the operator's routes. They exist only with `DATALAYER_STRIPE_ADMIN_ROLE`."""

from typing import Any

from . import accounts, events, overview


def admin_handlers(role: str | None) -> list[tuple[Any, ...]]:
    """Return the operator's routes.

    Args:
        role: The role that a caller needs; None turns the routes off.

    Returns:
        The routes as Tornado's `Application` takes them; none if they are off.
    """
    if role is None:
        return []
    return [
        *overview.default_handlers,
        *events.default_handlers,
        *accounts.default_handlers,
    ]
