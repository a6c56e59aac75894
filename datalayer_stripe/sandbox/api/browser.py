"""Confirm intents as Stripe.js does in the customer's browser, with the client secret only.

https://docs.stripe.com/js/payment_intents/confirm_card_payment
"""

from collections.abc import Callable, Mapping
from typing import Any

from ..shapes.objects import Object


def intent_id(client_secret_or_id: str) -> str:
    """Return the intent's identifier, which is the first part of its client secret."""
    return client_secret_or_id.partition("_secret_")[0]


def confirm(
    call: Callable[..., Object], intent: Object, card: str, params: Mapping[str, Any]
) -> Object:
    """Confirm a PaymentIntent or SetupIntent with a test card.

    Args:
        call: runs an operation of the API, as `SandboxCore.call`.
        intent: the PaymentIntent or SetupIntent.
        card: a test card's number, or a test token such as `pm_card_visa`.
        params: any other parameter of the confirmation.

    Raises:
        SandboxCardError: the card was declined.
    """
    data: dict[str, Any] = {"client_secret": intent["client_secret"], "use_stripe_sdk": True}
    if card.startswith("pm_"):
        data["payment_method"] = card
    else:
        data["payment_method_data"] = {"type": "card", "card": {"number": card}}
    path = f"/v1/{intent['object']}s/{intent['id']}/confirm"
    return call("POST", path, **{**data, **params})
