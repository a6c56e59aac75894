"""Operations on PaymentIntents and SetupIntents that several parts of the engine need."""

from ..shapes import payments as shapes
from ..shapes.objects import Object
from .backend import Backend

AUTHENTICATION_FAILURE = (
    "We are unable to authenticate your payment method. Please choose a different payment method "
    "and try again."
)


METHOD_SELECTIONS = (
    "automatic_payment_methods",
    "excluded_payment_method_types",
    "payment_method_configuration",
    "payment_method_types",
)
"""The other ways to choose the payment methods of an intent.

They cannot be combined with `allowed_payment_method_types`:
https://docs.stripe.com/changelog/dahlia/2026-07-29/allowed-payment-method-types-parameter
"""


def new_payment_intent(backend: Backend, amount: int, currency: str) -> Object:
    """Return a new PaymentIntent, which is not stored yet.

    Args:
        backend: the sandbox's state.
        amount: in the currency's minor unit.
        currency: three letters, in lower case.
    """
    intent_id = backend.ids.new("pi")
    secret = backend.ids.client_secret(intent_id)
    return shapes.payment_intent(intent_id, secret, amount, currency, backend.now())


def cancel_payment_intent(backend: Backend, intent: Object, reason: str | None) -> Object:
    """Set a PaymentIntent to `canceled` and emit its event.

    Args:
        backend: the sandbox's state.
        intent: a PaymentIntent that has not succeeded.
        reason: its `cancellation_reason`.
    """
    changes = {
        "canceled_at": backend.now(),
        "cancellation_reason": reason,
        "next_action": None,
        "status": "canceled",
    }
    backend.update(intent, changes)
    backend.emit("payment_intent.canceled", intent)
    return intent


def next_action(backend: Backend, intent_id: str, return_url: str | None) -> Object:
    """Return the `next_action` of an intent that requires authentication.

    https://docs.stripe.com/api/payment_intents/object#payment_intent_object-next_action

    Args:
        backend: the sandbox's state.
        intent_id: `pi_…` or `seti_…`.
        return_url: where to redirect the browser after the authentication; None if Stripe.js
            shows the authentication page in a dialog.
    """
    url = f"{backend.url}/sandbox/authenticate/{intent_id}"
    if return_url is not None:
        return {
            "redirect_to_url": {"return_url": return_url, "url": url},
            "type": "redirect_to_url",
        }
    return {
        "type": "use_stripe_sdk",
        "use_stripe_sdk": {
            "source": backend.ids.new("payatt"),
            "stripe_js": url,
            "type": "three_d_secure_redirect",
        },
    }
