"""Restricted keys: the permission that each request needs, and Stripe's refusal without it.

https://docs.stripe.com/keys/restricted-api-keys
https://docs.stripe.com/keys/permissions-reference
"""

from collections.abc import Collection

from ..engine.errors import StripeError

ACCOUNT_ID = "acct_sandbox"

# The first part of Stripe's name of the permission, and the text in Stripe's dashboard, by the
# beginning of the path. The first match counts.
_RESOURCES = (
    ("/v1/account", "connected_account", "Connected accounts"),
    ("/v1/billing_portal", "customer_portal", "Customer portal"),
    ("/v1/charges", "charge", "Charges and Refunds"),
    ("/v1/customer_sessions", "customer_session", "Customer session"),
    ("/v1/customers", "customer", "Customers"),
    ("/v1/disputes", "dispute", "Disputes"),
    ("/v1/events", "event", "Events"),
    ("/v1/invoiceitems", "invoice", "Invoices"),
    ("/v1/invoices", "invoice", "Invoices"),
    ("/v1/payment_intents", "payment_intent", "PaymentIntents"),
    ("/v1/payment_methods", "payment_method", "PaymentMethods"),
    ("/v1/prices", "plan", "Prices"),
    ("/v1/products", "product", "Products"),
    ("/v1/refunds", "charge", "Charges and Refunds"),
    ("/v1/setup_intents", "setup_intent", "SetupIntents"),
    ("/v1/subscription_items", "subscription", "Subscriptions"),
    ("/v1/subscriptions", "subscription", "Subscriptions"),
    ("/v1/webhook_endpoints", "webhook", "Webhook Endpoints"),
    ("/v2/core/event_destinations", "webhook", "Webhook Endpoints"),
    ("/v2/core/events", "event", "Events"),
)


def check_permission(key: str, permissions: Collection[str], method: str, path: str) -> None:
    """Check that a restricted key may make a request. Permission to write includes reading.

    Args:
        key: the restricted key.
        permissions: what it may do, such as `webhook_write`.
        method: the HTTP method.
        path: the URL's path.

    Raises:
        StripeError: a permission is lacking (403).
    """
    found = next((row for row in _RESOURCES if path.startswith(row[0])), None)
    if found is None:
        return
    _, resource, label = found
    access = "read" if method == "GET" else "write"
    if {f"{resource}_{access}", f"{resource}_write"} & set(permissions):
        return
    shown = f"{key[:8]}{'*' * 20}{key[-6:]}"
    raise StripeError(
        403,
        f"Permission denied. The provided key '{shown}' does not have the required permissions for "
        f"this endpoint on account '{ACCOUNT_ID}'. Enabling {label} {access.capitalize()} "
        f"('{resource}_{access}') permissions on this key would allow this request to continue.",
        code="more_permissions_required",
        executed=False,
    )
