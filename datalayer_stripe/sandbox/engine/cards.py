"""Stripe's test cards, and the outcome of a payment with each.

https://docs.stripe.com/testing
"""

from dataclasses import dataclass
from enum import Enum

from .errors import SandboxCardError


class Authentication(Enum):
    """When a payment with a card requires authentication (3-D Secure)."""

    NEVER = "never"
    UNLESS_SET_UP = "unless set up for later payments"
    ALWAYS = "always"


@dataclass(frozen=True)
class Decline:
    """Reason of a decline.

    Attributes:
        code: Stripe's error code, such as `card_declined`.
        message: the text for the customer.
        decline_code: the bank's reason, such as `insufficient_funds`.
    """

    code: str
    message: str
    decline_code: str | None = None


@dataclass(frozen=True)
class Card:
    """A test card's number and behavior.

    Attributes:
        number: digits only.
        decline: the decline of every payment; None if payments succeed.
        decline_attached: the decline of payments once the card is attached to a customer.
        authentication: when a payment requires authentication.
        disputed_as: the reason of the dispute that follows each payment; None: no dispute.
        inquiry: whether that dispute is only an inquiry.
        refund_pending: whether a refund is pending until `Sandbox.settle_refund`.
    """

    number: str
    decline: Decline | None = None
    decline_attached: Decline | None = None
    authentication: Authentication = Authentication.NEVER
    disputed_as: str | None = None
    inquiry: bool = False
    refund_pending: bool = False

    @property
    def last4(self) -> str:
        """The number's last four digits."""
        return self.number[-4:]

    @property
    def brand(self) -> str:
        """The card's brand, by its first digit."""
        return {"3": "amex", "4": "visa", "5": "mastercard", "6": "discover"}.get(
            self.number[0], "unknown"
        )


def _declined(decline_code: str, message: str = "Your card was declined.") -> Decline:
    return Decline("card_declined", message, decline_code)


GENERIC_DECLINE = _declined("generic_decline")
AUTHENTICATION_REQUIRED = Decline(
    "authentication_required",
    "Your card was declined. This transaction requires authentication.",
    "authentication_required",
)
_INSUFFICIENT_FUNDS = _declined("insufficient_funds", "Your card has insufficient funds.")

_CARDS = {
    card.number: card
    for card in (
        Card("4242424242424242"),
        Card("5555555555554444"),
        Card("378282246310005"),
        Card("6011111111111117"),
        Card("4000000000000077"),  # at Stripe, its payments are available at once
        Card("4000000000000002", decline=GENERIC_DECLINE),
        Card("4000000000009995", decline=_INSUFFICIENT_FUNDS),
        Card("4000000000009987", decline=_declined("lost_card")),
        Card("4000000000009979", decline=_declined("stolen_card")),
        Card("4000000000000069", decline=Decline("expired_card", "Your card has expired.")),
        Card(
            "4000000000000127",
            decline=Decline("incorrect_cvc", "Your card's security code is incorrect."),
        ),
        Card(
            "4000000000000119",
            decline=Decline(
                "processing_error",
                "An error occurred while processing your card. Try again in a little bit.",
            ),
        ),
        Card("4000000000000341", decline_attached=GENERIC_DECLINE),
        Card("4000002500003155", authentication=Authentication.UNLESS_SET_UP),
        Card("4000002760003184", authentication=Authentication.ALWAYS),
        Card("4000000000003220", authentication=Authentication.ALWAYS),
        Card("4000000000000259", disputed_as="fraudulent"),
        Card("4000000000002685", disputed_as="product_not_received"),
        Card("4000000000001976", disputed_as="fraudulent", inquiry=True),
        Card("4000000000007726", refund_pending=True),
    )
}

_TOKENS = {
    "pm_card_visa": "4242424242424242",
    "pm_card_mastercard": "5555555555554444",
    "pm_card_amex": "378282246310005",
    "pm_card_discover": "6011111111111117",
    "pm_card_bypassPending": "4000000000000077",
    "pm_card_chargeDeclined": "4000000000000002",
    "pm_card_visa_chargeDeclined": "4000000000000002",
    "pm_card_chargeDeclinedInsufficientFunds": "4000000000009995",
    "pm_card_visa_chargeDeclinedInsufficientFunds": "4000000000009995",
    "pm_card_visa_chargeDeclinedLostCard": "4000000000009987",
    "pm_card_visa_chargeDeclinedStolenCard": "4000000000009979",
    "pm_card_chargeDeclinedExpiredCard": "4000000000000069",
    "pm_card_chargeDeclinedIncorrectCvc": "4000000000000127",
    "pm_card_chargeDeclinedProcessingError": "4000000000000119",
    "pm_card_chargeCustomerFail": "4000000000000341",
    "pm_card_authenticationRequiredOnSetup": "4000002500003155",
    "pm_card_authenticationRequired": "4000002760003184",
    "pm_card_threeDSecure2Required": "4000000000003220",
    "pm_card_createDispute": "4000000000000259",
    "pm_card_createDisputeProductNotReceived": "4000000000002685",
    "pm_card_createDisputeInquiry": "4000000000001976",
    "pm_card_pendingRefund": "4000000000007726",
}


def card_of_token(token: str) -> Card | None:
    """Return the card of a test token such as `pm_card_visa`; None if it is not a test token."""
    number = _TOKENS.get(token)
    return None if number is None else _CARDS[number]


def card_of_number(number: str) -> Card:
    """Return the card with a number; spaces and dashes in the number are ignored.

    Raises:
        SandboxCardError: the number is not valid, or not the number of a test card.
    """
    digits = number.replace(" ", "").replace("-", "")
    if not digits.isdigit() or not 12 <= len(digits) <= 19 or not _passes_luhn(digits):
        raise SandboxCardError("Your card number is incorrect.", code="incorrect_number")
    try:
        return _CARDS[digits]
    except KeyError:
        raise SandboxCardError(
            "Your card was declined. Your request was in test mode, but used a non test card. "
            "For a list of valid test cards, visit: https://docs.stripe.com/testing.",
            code="card_declined",
            decline_code="test_mode_live_card",
        ) from None


def _passes_luhn(digits: str) -> bool:
    total = 0
    for index, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (2 if index % 2 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0
