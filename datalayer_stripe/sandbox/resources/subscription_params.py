"""Parameters of the operations on subscriptions."""

from ..api import params as p

STATUSES = (
    "incomplete",
    "incomplete_expired",
    "trialing",
    "active",
    "past_due",
    "canceled",
    "unpaid",
    "paused",
    "ended",
    "all",
)
_FEEDBACK = p.choice(
    "customer_service",
    "low_quality",
    "missing_features",
    "other",
    "switched_service",
    "too_complex",
    "too_expensive",
    "unused",
)
_CANCELLATION_DETAILS = p.hash_of({"comment": p.string, "feedback": _FEEDBACK})
_COMMON: p.Fields = {
    "cancel_at_period_end": p.boolean,
    "default_payment_method": p.string,
    "description": p.string,
    "metadata": p.metadata,
    "off_session": p.boolean,
    "collection_method": p.choice("charge_automatically"),
    "payment_settings": p.hash_of(
        {
            "save_default_payment_method": p.choice("off", "on_subscription"),
            "payment_method_types": p.list_of(p.choice("card")),
        }
    ),
    "payment_behavior": p.choice(
        "allow_incomplete", "default_incomplete", "error_if_incomplete", "pending_if_incomplete"
    ),
    "expand": p.list_of(p.string),
}
CREATE_FIELDS: p.Fields = {
    **_COMMON,
    "customer": p.string,
    "currency": p.currency,
    "items": p.list_of(
        p.hash_of({"price": p.string, "quantity": p.integer, "metadata": p.metadata})
    ),
    "payment_behavior": p.choice("allow_incomplete", "default_incomplete", "error_if_incomplete"),
    "trial_period_days": p.integer,
    "trial_end": p.integer,
}
UPDATE_FIELDS: p.Fields = {
    **_COMMON,
    "items": p.list_of(
        p.hash_of(
            {"id": p.string, "price": p.string, "quantity": p.integer, "metadata": p.metadata},
            required=["id"],
        )
    ),
    "cancellation_details": _CANCELLATION_DETAILS,
    "proration_behavior": p.choice("none"),
}
CANCEL_FIELDS: p.Fields = {
    "cancellation_details": _CANCELLATION_DETAILS,
    "expand": p.list_of(p.string),
}
