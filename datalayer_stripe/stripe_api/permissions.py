"""The permissions of a restricted key that the calls need.

Stripe's names: https://docs.stripe.com/keys/permissions-reference. A permission to write includes
the one to read.
"""

import re
from collections.abc import Iterable, Mapping, Set

import stripe

# Stripe has used two forms: "Having the 'rak_webhook_write' permission would allow this request to
# continue." and "Enabling Webhook Endpoints Write ('webhook_write') permissions on this key would
# allow this request to continue."
_NAMED = re.compile(r"'(?:rak_)?([a-z][a-z0-9_]{1,60}_(?:read|write))'")

OPERATION_PERMISSIONS: Mapping[str, str] = {
    "account.retrieve": "connected_account_read",
    "billing_portal.configurations.create": "customer_portal_write",
    "billing_portal.configurations.list": "customer_portal_read",
    "billing_portal.configurations.retrieve": "customer_portal_read",
    "billing_portal.configurations.update": "customer_portal_write",
    "billing_portal.sessions.create": "customer_portal_write",
    "charges.retrieve": "charge_read",
    "checkout.sessions.retrieve": "checkout_session_read",
    "customers.create": "customer_write",
    "customers.list": "customer_read",
    "customers.retrieve": "customer_read",
    "disputes.list": "dispute_read",
    "disputes.retrieve": "dispute_read",
    "events.list": "event_read",
    "events.retrieve": "event_read",
    "invoices.retrieve": "invoice_read",
    "invoices.void": "invoice_write",
    "payment_intents.cancel": "payment_intent_write",
    "payment_intents.create": "payment_intent_write",
    "payment_intents.list": "payment_intent_read",
    "payment_intents.retrieve": "payment_intent_read",
    "payment_methods.retrieve": "payment_method_read",
    "prices.create": "plan_write",
    "prices.list": "plan_read",
    "prices.retrieve": "plan_read",
    "prices.update": "plan_write",
    "products.create": "product_write",
    "products.list": "product_read",
    "products.retrieve": "product_read",
    "products.update": "product_write",
    "refunds.list": "charge_read",
    "refunds.retrieve": "charge_read",
    "setup_intents.create": "setup_intent_write",
    "setup_intents.retrieve": "setup_intent_read",
    "subscriptions.create": "subscription_write",
    "subscriptions.list": "subscription_read",
    "subscriptions.retrieve": "subscription_read",
    "subscriptions.update": "subscription_write",
    "v2.core.event_destinations.create": "webhook_write",
    "v2.core.event_destinations.delete": "webhook_write",
    "v2.core.event_destinations.enable": "webhook_write",
    "v2.core.event_destinations.list": "webhook_read",
    "v2.core.event_destinations.update": "webhook_write",
    "v2.core.events.retrieve": "event_read",
    "webhook_endpoints.create": "webhook_write",
    "webhook_endpoints.delete": "webhook_write",
    "webhook_endpoints.list": "webhook_read",
    "webhook_endpoints.update": "webhook_write",
}
"""The permission that each call needs, by the name of the call."""

# The permissions for the objects that answers contain in full, such as a price's product.
_EXPANDED = ("product_read", "charge_read", "invoice_read", "setup_intent_read")

PROVISIONING_OPERATIONS = frozenset(
    {
        "account.retrieve",
        "billing_portal.configurations.create",
        "billing_portal.configurations.list",
        "billing_portal.configurations.retrieve",
        "billing_portal.configurations.update",
        "prices.create",
        "prices.update",
        "products.create",
        "products.list",
        "products.update",
        "v2.core.event_destinations.create",
        "v2.core.event_destinations.delete",
        "v2.core.event_destinations.enable",
        "v2.core.event_destinations.list",
        "v2.core.event_destinations.update",
        "webhook_endpoints.create",
        "webhook_endpoints.delete",
        "webhook_endpoints.list",
        "webhook_endpoints.update",
    }
)
"""The calls that the service itself does not make, but commands of the operator."""

# The built-in plugins handle no events about these objects.
_OPERATIONS_OF_PLUGINS = frozenset({"checkout.sessions.retrieve", "payment_methods.retrieve"})

_RESOURCES = {
    "charge": "Charges and Refunds",
    "checkout_session": "Checkout Sessions",
    "connected_account": "Connected accounts",
    "customer": "Customers",
    "customer_portal": "Customer portal",
    "dispute": "Disputes",
    "event": "Events",
    "invoice": "Invoices",
    "payment_intent": "PaymentIntents",
    "payment_method": "PaymentMethods",
    "plan": "Prices",
    "product": "Products",
    "setup_intent": "SetupIntents",
    "subscription": "Subscriptions",
    "webhook": "Webhook Endpoints",
}


def permissions_for(operations: Iterable[str]) -> list[str]:
    """Return the permissions that a key needs for these calls, sorted.

    Args:
        operations: Names of calls.
    """
    return _without_implied({OPERATION_PERMISSIONS[one] for one in operations})


def service_permissions() -> list[str]:
    """Return the permissions that the running service needs, sorted."""
    own = OPERATION_PERMISSIONS.keys() - PROVISIONING_OPERATIONS - _OPERATIONS_OF_PLUGINS
    return _without_implied({*permissions_for(own), *_EXPANDED})


def _without_implied(permissions: Set[str]) -> list[str]:
    """Return permissions without those to read that one to write includes."""
    implied = {f"{one.removesuffix('_write')}_read" for one in permissions}
    return sorted(permissions - implied)


def named_permission(error: stripe.PermissionError) -> str | None:
    """Return the permission that Stripe's error names, such as `webhook_write`, or None."""
    found = _NAMED.search(error.user_message or "")
    return found.group(1) if found else None


def permission_label(permission: str) -> str:
    """Return a permission as Stripe's dashboard shows it, such as `Webhook Endpoints: Write`.

    Args:
        permission: Stripe's name, such as `webhook_write`.
    """
    resource, _, access = permission.rpartition("_")
    name = _RESOURCES.get(resource, resource.replace("_", " ").capitalize())
    return f"{name}: {access.capitalize()}"
