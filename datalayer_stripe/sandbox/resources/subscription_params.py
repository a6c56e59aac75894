"""Parameters of the operations on subscriptions."""

from ..api import params as p
from ..api.documented import accept
from ..api.lists import LIST_FIELDS

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
_CANCELLATION_DETAILS = p.hash_of({"feedback": _FEEDBACK})
_COMMON: p.Fields = {
    "cancel_at": p.integer,
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
}
CREATE_FIELDS = accept(
    "POST /v1/subscriptions",
    {
        **_COMMON,
        "customer": p.string,
        "currency": p.currency,
        "items": p.list_of(p.hash_of({"price": p.string, "quantity": p.integer})),
        "payment_behavior": p.choice(
            "allow_incomplete", "default_incomplete", "error_if_incomplete"
        ),
        "trial_end": p.integer,
    },
)
UPDATE_FIELDS = accept(
    "POST /v1/subscriptions/{id}",
    {
        **_COMMON,
        "items": p.list_of(
            p.hash_of({"id": p.string, "price": p.string, "quantity": p.integer}, required=["id"])
        ),
        "cancellation_details": _CANCELLATION_DETAILS,
        "proration_behavior": p.choice("none"),
    },
)
CANCEL_FIELDS = accept(
    "DELETE /v1/subscriptions/{id}", {"cancellation_details": _CANCELLATION_DETAILS}
)
LIST_SUBSCRIPTIONS = accept(
    "GET /v1/subscriptions",
    {**LIST_FIELDS, "customer": p.string, "price": p.string, "status": p.choice(*STATUSES)},
)
