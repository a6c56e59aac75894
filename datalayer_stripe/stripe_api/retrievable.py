"""The objects that can be read by their type and id, for events that name them."""

from collections.abc import Mapping
from types import MappingProxyType

RETRIEVABLE: Mapping[str, str] = MappingProxyType(
    {
        "charge": "charges",
        "checkout.session": "checkout.sessions",
        "customer": "customers",
        "dispute": "disputes",
        "invoice": "invoices",
        "payment_intent": "payment_intents",
        "payment_method": "payment_methods",
        "price": "prices",
        "product": "products",
        "refund": "refunds",
        "setup_intent": "setup_intents",
        "subscription": "subscriptions",
    }
)
"""The service of the SDK's client by the type of its objects."""

# The prefix of the paths of these objects.
_VERSION = "/v1"


def is_retrievable(object_type: str, object_id: str, url: str) -> bool:
    """Return whether an object can be read, and the URL is the one that Stripe has it at.

    Args:
        object_type: The type, such as `payment_intent`.
        object_id: The id.
        url: The path that an event names. It is not requested.
    """
    service = RETRIEVABLE.get(object_type)
    return service is not None and url == f"{_VERSION}/{service.replace('.', '/')}/{object_id}"
