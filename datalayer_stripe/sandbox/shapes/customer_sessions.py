"""New customer sessions.

https://docs.stripe.com/api/customer_sessions/object
"""

from .objects import Object

# The features of the components that have any, if they are enabled.
FEATURES: dict[str, Object] = {
    "customer_sheet": {
        "payment_method_allow_redisplay_filters": ["always"],
        "payment_method_remove": "disabled",
    },
    "mobile_payment_element": {
        "payment_method_allow_redisplay_filters": ["always"],
        "payment_method_redisplay": "disabled",
        "payment_method_remove": "disabled",
        "payment_method_save": "disabled",
        "payment_method_save_allow_redisplay_override": None,
    },
    "payment_element": {
        "payment_method_allow_redisplay_filters": ["always"],
        "payment_method_redisplay": "disabled",
        "payment_method_redisplay_limit": 3,
        "payment_method_remove": "disabled",
        "payment_method_save": "disabled",
        "payment_method_save_usage": None,
    },
}
_PLAIN = ("active_entitlements", "buy_button", "customer_portal", "pricing_table")
_LIFETIME = 1800  # seconds


def customer_session(customer_id: str, client_secret: str, now: int) -> Object:
    """Return a new session of a customer, without an enabled component. It has no identifier."""
    return {
        "object": "customer_session",
        "client_secret": client_secret,
        "components": {
            **{name: {"enabled": False} for name in _PLAIN},
            **{name: {"enabled": False, "features": None} for name in FEATURES},
        },
        "created": now,
        "customer": customer_id,
        "customer_account": None,
        "expires_at": now + _LIFETIME,
        "livemode": False,
    }
