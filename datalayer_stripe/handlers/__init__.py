"""HTTP: thin handlers over the domain. Each module ends with its URLs."""

from . import account, portal, stream, subscription, topup, webhook
from . import operations as ops

default_handlers = [
    *webhook.default_handlers,
    *topup.default_handlers,
    *subscription.default_handlers,
    *portal.default_handlers,
    *account.default_handlers,
    *stream.default_handlers,
    *ops.default_handlers,
]

__all__ = ["default_handlers"]
