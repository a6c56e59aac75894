"""Access with the publishable key: the allowed requests and the visible fields.

https://docs.stripe.com/keys#obtain-api-keys
"""

from collections.abc import Mapping
from typing import Any

from ..engine.errors import StripeError, invalid
from ..engine.store import Store
from ..shapes.objects import Object
from .routes import Match

_INTENT_FIELDS = frozenset(
    {
        "id",
        "object",
        "amount",
        "amount_details",
        "automatic_payment_methods",
        "canceled_at",
        "cancellation_reason",
        "capture_method",
        "client_secret",
        "confirmation_method",
        "created",
        "currency",
        "description",
        "last_payment_error",
        "last_setup_error",
        "livemode",
        "next_action",
        "payment_method",
        "payment_method_configuration_details",
        "payment_method_types",
        "processing",
        "receipt_email",
        "setup_future_usage",
        "shipping",
        "status",
        "usage",
    }
)
_FIELDS = {
    "payment_intent": _INTENT_FIELDS,
    "setup_intent": _INTENT_FIELDS,
    "payment_method": frozenset(
        {
            "id",
            "object",
            "allow_redisplay",
            "billing_details",
            "card",
            "created",
            "customer",
            "livemode",
            "type",
        }
    ),
}


def check_access(store: Store, match: Match, params: Mapping[str, Any]) -> None:
    """Check that a request with the publishable key is allowed.

    The operation must be public. If it addresses an object, the request must have the object's
    client secret.

    Args:
        store: the objects of the sandbox.
        match: the operation and the identifiers in its path.
        params: the decoded parameters.

    Raises:
        StripeError: the request is not allowed.
    """
    if not match.route.public:
        raise StripeError(
            401,
            "This API call cannot be made with a publishable API key. Please use a secret API "
            "key. You can find a list of your API keys at "
            "https://dashboard.stripe.com/account/apikeys.",
            code="secret_key_required",
            executed=False,
        )
    if "id" not in match.ids:
        return
    if "client_secret" not in params:
        raise invalid(
            "Missing required param: client_secret.",
            code="parameter_missing",
            param="client_secret",
        )
    found = store.find(match.ids["id"])
    if found is None or found.get("client_secret") != params["client_secret"]:
        raise StripeError(
            404,
            f"No such object: '{match.ids['id']}'",
            code="resource_missing",
            param="intent",
            executed=False,
        )


def public_view(body: Object) -> Object:
    """Return the public fields of an object, or an error with the public fields of its objects."""
    if "error" in body:
        return {"error": {name: _public_part(value) for name, value in body["error"].items()}}
    return _public_fields(body)


def _public_part(value: Any) -> Any:
    return _public_fields(value) if isinstance(value, dict) else value


def _public_fields(value: Object) -> Object:
    fields = _FIELDS.get(value.get("object", ""), value)
    return {name: part for name, part in value.items() if name in fields}
