"""Tornado handlers of the HTTP routes; each module ends with its `default_handlers`."""

from . import account, openapi, operations, portal, stream, subscription, topup, webhook

default_handlers = [
    *webhook.default_handlers,
    *topup.default_handlers,
    *subscription.default_handlers,
    *portal.default_handlers,
    *account.default_handlers,
    *stream.default_handlers,
    *operations.default_handlers,
    *openapi.default_handlers,
]

__all__ = ["default_handlers"]
