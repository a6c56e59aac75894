"""The story that `demo --play` plays: each step does something, and checks what was promised."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from ..handlers.urls import IAM_PREFIX, STRIPE_PREFIX
from ..testing.shop import PACKAGES, PLAN_AMOUNT
from .browser import Answer, Browser
from .environment import DemoEnvironment
from .expectations import becomes, expect

Step = tuple[str, Callable[[], Awaitable[str]]]

_TOP_UP = f"{STRIPE_PREFIX}/topup/payment-intent"
_REFUSED = "403 code=subscription_required"


class Story:
    """One account's story, from a first refusal to the end of its subscription.

    Each step returns what it saw, in a few words, and raises UnexpectedResult or NoAnswer.
    `patience` is how many seconds a webhook and its effects may take.
    """

    def __init__(self, browser: Browser, stage: DemoEnvironment, *, patience: float) -> None:
        self._browser = browser
        self._small, self._middle, _ = stage.package_prices
        self._plan = stage.plan_price
        self._patience = patience
        self._client_secret = ""
        self._delivered_before = 0

    def steps(self) -> list[Step]:
        """What is promised, in order, each with the function that tries it."""
        return [
            ("Packages and a plan are for sale", self.look),
            ("A top-up without a subscription is refused", self.refused),
            ("Subscribe to the plan", self.subscribe),
            ("Pay it with the card 4242 4242 4242 4242", self.pay),
            ("The signed webhook comes in", self.hear_of_subscription),
            ("The subscription is active", self.active),
            ("Buy 50 credits; the browser's own amount is ignored", self.buy),
            ("Pay them", self.pay),
            ("The signed webhook comes in", self.hear_of_payment),
            ("The credits are up by 50", self.credited),
            ("The same event again changes nothing", self.duplicate),
            ("A forged event is refused", self.forged),
            ("A declined card adds nothing", self.declined),
            ("3-D Secure: the credits wait for the authentication", self.authenticated),
            ("Half of the money goes back, and half of the credits", self.refunded),
            ("A dispute takes the rest, until it is won", self.disputed),
            ("The month is renewed, and adds no credits", self.renewed),
            ("Cancel: the subscription ends with its month", self.cancelled),
            ("Resume: it goes on", self.resumed),
            ("Cancel again, and the month is over", self.ended),
            ("A top-up is refused again, and the credits stay", self.refused_again),
        ]

    async def look(self) -> str:
        prices = (await self._browser.get(f"{STRIPE_PREFIX}/topup/prices")).fields.get("prices", [])
        came = {price["unit_amount"]: price["credits"] for price in prices}
        expect(_listed({amount: credits for credits, amount in PACKAGES.items()}), _listed(came))
        plans = (await self._browser.get(f"{IAM_PREFIX}/subscription/plans")).fields.get(
            "plans", []
        )
        came = {plan["amount"]: plan["interval"] for plan in plans}
        expect(_listed({PLAN_AMOUNT: "month"}), _listed(came))
        return f"{', '.join(map(str, PACKAGES))} credits; $29 a month"

    async def refused(self) -> str:
        answer = await self._browser.post(_TOP_UP, price_id=self._small)
        expect(_REFUSED, answer.said())
        return _REFUSED

    async def subscribe(self) -> str:
        answer = await self._browser.post(
            f"{STRIPE_PREFIX}/subscription/payment-intent", price_id=self._plan
        )
        expect("201 status=incomplete", answer.said("status"))
        self._client_secret = answer.fields["client_secret"]
        return answer.said("status")

    async def pay(self) -> str:
        self._delivered_before = len(await self._browser.deliveries())
        return await self._confirm("pm_card_visa", "200 status=succeeded")

    async def hear_of_subscription(self) -> str:
        return await self._hear_of("customer.subscription.updated")

    async def active(self) -> str:
        return await self._status_becomes("active, may buy credits")

    async def buy(self) -> str:
        answer = await self._top_up(self._small, amount=1, credits=1_000_000)
        expected = "201 amount=500 currency=usd credits=50"
        expect(expected, answer.said("amount", "currency", "credits"))
        return expected

    async def hear_of_payment(self) -> str:
        return await self._hear_of("payment_intent.succeeded")

    async def credited(self) -> str:
        return await self._credits_become(50)

    async def duplicate(self) -> str:
        paid = await self._latest_delivery("payment_intent.succeeded")
        answer = await self._browser.sandbox("webhooks/deliver", event_id=paid.get("event_id"))
        expect("200 duplicate", _outcome(answer.fields))
        return f"200 duplicate, {await self._credits_stay(50)}"

    async def forged(self) -> str:
        answer = await self._browser.forge(id="evt_forged", type="payment_intent.succeeded")
        expect("400 code=invalid_signature", answer.said())
        return f"{answer.said()}, {await self._credits_stay(50)}"

    async def declined(self) -> str:
        await self._top_up(self._small)
        declined = await self._confirm("pm_card_chargeDeclined", "402 code=card_declined")
        return f"{declined}, {await self._credits_stay(50)}"

    async def authenticated(self) -> str:
        await self._top_up(self._middle)
        waiting = "200 status=requires_action"
        await self._confirm("pm_card_authenticationRequired", waiting)
        before = await self._credits_stay(50)
        await self._browser.sandbox("authenticate", intent_id=self._intent_id)
        return f"{before}, then {await self._credits_become(270)}"

    async def refunded(self) -> str:
        await self._browser.sandbox("refund", payment_intent_id=self._intent_id, amount=1000)
        return f"$10.00 of $20.00, {await self._credits_become(160)}"

    async def disputed(self) -> str:
        opened = await self._browser.sandbox(
            "dispute", payment_intent_id=self._intent_id, amount=1000
        )
        taken = await self._credits_become(50)
        await self._browser.sandbox("close_dispute", dispute_id=opened.fields["id"], won=True)
        return f"{taken}, then {await self._credits_become(160)}"

    async def renewed(self) -> str:
        heard = await self._end_month("invoice.paid")
        await self._status_becomes("active, may buy credits")
        return f"{heard}, {await self._credits_stay(160)}"

    async def cancelled(self) -> str:
        answer = await self._browser.post(f"{IAM_PREFIX}/subscription/cancel")
        expect("200 cancel_at_period_end=True", answer.said("cancel_at_period_end"))
        return f"{answer.said('cancel_at_period_end')}, {await self._status()}"

    async def resumed(self) -> str:
        answer = await self._browser.post(f"{IAM_PREFIX}/subscription/resume")
        expect("200 cancel_at_period_end=False", answer.said("cancel_at_period_end"))
        return answer.said("cancel_at_period_end")

    async def ended(self) -> str:
        await self.cancelled()
        await self._end_month("customer.subscription.deleted")
        return await self._status_becomes("canceled, may not buy credits")

    async def refused_again(self) -> str:
        return f"{await self.refused()}, {await self._credits_stay(160)}"

    # What the steps are made of

    @property
    def _intent_id(self) -> str:
        """The latest PaymentIntent."""
        return self._client_secret.partition("_secret_")[0]

    async def _top_up(self, price: str, **more: Any) -> Answer:
        answer = await self._browser.post(_TOP_UP, price_id=price, **more)
        expect("201", answer.said())
        self._client_secret = answer.fields["client_secret"]
        return answer

    async def _confirm(self, card: str, expected: str) -> str:
        answer = await self._browser.pay(self._client_secret, card)
        expect(expected, answer.said("status"))
        return answer.said("status")

    async def _end_month(self, event_type: str) -> str:
        self._delivered_before = len(await self._browser.deliveries())
        subscription = (await self._browser.get(f"{IAM_PREFIX}/subscription")).fields[
            "subscription"
        ]
        await self._browser.sandbox("renew", subscription_id=subscription["id"])
        return await self._hear_of(event_type)

    async def _hear_of(self, event_type: str) -> str:
        async def heard() -> str:
            return f"{event_type} → {_outcome(await self._latest_delivery(event_type))}"

        return await self._becomes(heard, f"{event_type} → 200 processed")

    async def _latest_delivery(self, event_type: str) -> dict[str, Any]:
        attempts = (await self._browser.deliveries())[self._delivered_before :]
        return next((one for one in reversed(attempts) if one["type"] == event_type), {})

    async def _status(self) -> str:
        fields = (await self._browser.get(f"{IAM_PREFIX}/subscription")).fields.get(
            "subscription", {}
        )
        may = "may" if fields.get("is_eligible") else "may not"
        return f"{fields.get('status')}, {may} buy credits"

    async def _status_becomes(self, expected: str) -> str:
        return await self._becomes(self._status, expected)

    async def _credits(self) -> str:
        fields = (await self._browser.get(f"{IAM_PREFIX}/usage/credits")).fields
        return f"{fields.get('credits', {}).get('credits')} credits"

    async def _credits_become(self, number: int) -> str:
        return await self._becomes(self._credits, f"{number} credits")

    async def _credits_stay(self, number: int) -> str:
        """The balance, once every event has been delivered."""
        answer = await self._browser.sandbox("webhooks/settle", timeout=self._patience)
        expect("200, all webhooks delivered", f"{answer.status}, all webhooks delivered")
        expect(f"{number} credits", await self._credits())
        return f"still {number} credits"

    async def _becomes(self, read: Callable[[], Awaitable[str]], expected: str) -> str:
        await becomes(read, expected, within=self._patience)
        return expected


def _listed(prices: Any) -> str:
    return ", ".join(f"{amount} cents: {what}" for amount, what in prices.items())


def _outcome(attempt: dict[str, Any]) -> str:
    """What the service answered to a delivery."""
    if not attempt:
        return "not delivered"
    try:
        outcome = json.loads(attempt["body"]).get("outcome", "")
    except ValueError:
        outcome = ""
    return f"{attempt['status']} {outcome}".rstrip()
