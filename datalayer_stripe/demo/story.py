"""The story that `demo --play` plays: each step does something and checks the result."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from ..events import PAYMENT_SUCCEEDED, SUBSCRIPTION_UPDATED
from ..handlers.urls import IAM_PREFIX, STRIPE_PREFIX
from ..testing.shop import PACKAGES, PLAN_AMOUNT
from .client import DemoClient, Response
from .environment import DemoEnvironment
from .expectations import expect, expect_within

Step = tuple[str, Callable[[], Awaitable[str]]]
"""The title of a step, and the coroutine function that runs it."""

_TOP_UP = f"{STRIPE_PREFIX}/topup/payment-intent"
_SUBSCRIBE = f"{STRIPE_PREFIX}/subscription/payment-intent"
_SUBSCRIPTION = f"{IAM_PREFIX}/subscription"
_REFUSED = "403 code=subscription_required"


class Story:
    """Story of one account, from the first refused top-up to the end of its subscription.

    Each step returns a short text of what it observed, or raises UnexpectedResult or NoResponse.

    Args:
        client: Calls the service and the local Stripe.
        environment: The running demo.
        webhook_timeout: How long to wait for a webhook and its effects, in seconds.
    """

    def __init__(
        self, client: DemoClient, environment: DemoEnvironment, *, webhook_timeout: float
    ) -> None:
        self._client = client
        self._small, self._middle, _ = environment.package_prices
        self._plan = environment.plan_price
        self._webhook_timeout = webhook_timeout
        self._client_secret = ""
        self._earlier_deliveries = 0

    def steps(self) -> list[Step]:
        """Return the steps in order."""
        # A line with a title and its result fits into 80 columns.
        return [
            ("List packages and the plan", self.list_prices),
            ("A top-up needs a subscription", self.refuse_top_up),
            ("Subscribe to the plan", self.subscribe),
            ("Pay with 4242 4242 4242 4242", self.pay),
            ("Stripe delivers the webhook", self.receive_subscription_event),
            ("The subscription is active", self.activate),
            ("Buy 50 credits at list price", self.buy),
            ("Pay for the credits", self.pay),
            ("Stripe delivers the webhook", self.receive_payment_event),
            ("The balance increases by 50", self.credit),
            ("A repeated event adds nothing", self.deliver_again),
            ("A forged event is refused", self.refuse_forged_event),
            ("A declined card adds nothing", self.decline),
            ("3-D Secure delays the credits", self.authenticate),
            ("A half refund takes back half", self.refund),
            ("A won dispute returns credits", self.dispute),
            ("A renewal adds no credits", self.renew),
            ("Cancel at the month's end", self.cancel),
            ("Resume the subscription", self.resume),
            ("Cancel again; end the month", self.end),
            ("Top-ups are refused again", self.refuse_top_up_again),
        ]

    async def list_prices(self) -> str:
        prices = (await self._client.get(f"{STRIPE_PREFIX}/topup/prices")).fields.get("prices", [])
        actual = {price["unit_amount"]: price["credits"] for price in prices}
        expected = {amount: credits for credits, amount in PACKAGES.items()}
        expect(_price_list(expected), _price_list(actual))
        plans = (await self._client.get(f"{IAM_PREFIX}/subscription/plans")).fields.get("plans", [])
        actual = {plan["amount"]: plan["interval"] for plan in plans}
        expect(_price_list({PLAN_AMOUNT: "month"}), _price_list(actual))
        return f"{', '.join(map(str, PACKAGES))} credits; $29 a month"

    async def refuse_top_up(self) -> str:
        response = await self._client.post(_TOP_UP, price_id=self._small)
        expect(_REFUSED, response.summary())
        return _REFUSED

    async def subscribe(self) -> str:
        response = await self._client.post(_SUBSCRIBE, price_id=self._plan)
        expect("201 status=incomplete", response.summary("status"))
        self._client_secret = response.fields["client_secret"]
        return response.summary("status")

    async def pay(self) -> str:
        self._earlier_deliveries = len(await self._client.list_deliveries())
        return await self._confirm("pm_card_visa", "200 status=succeeded")

    async def receive_subscription_event(self) -> str:
        return await self._receive(SUBSCRIPTION_UPDATED)

    async def activate(self) -> str:
        return await self._status_becomes("active, can buy")

    async def buy(self) -> str:
        response = await self._top_up(self._small, amount=1, credits=1_000_000)
        expected = "201 amount=500 currency=usd credits=50"
        expect(expected, response.summary("amount", "currency", "credits"))
        return expected

    async def receive_payment_event(self) -> str:
        return await self._receive(PAYMENT_SUCCEEDED)

    async def credit(self) -> str:
        return await self._credits_become(50)

    async def deliver_again(self) -> str:
        paid = await self._latest_delivery(PAYMENT_SUCCEEDED)
        response = await self._client.control_sandbox(
            "webhooks/deliver", event_id=paid.get("event_id")
        )
        expect("200 duplicate", _outcome(response.fields))
        return f"200 duplicate, {await self._credits_stay(50)}"

    async def refuse_forged_event(self) -> str:
        response = await self._client.post_forged_event(id="evt_forged", type=PAYMENT_SUCCEEDED)
        expect("400 code=invalid_signature", response.summary())
        return f"{response.summary()}, {await self._credits_stay(50)}"

    async def decline(self) -> str:
        await self._top_up(self._small)
        declined = await self._confirm("pm_card_chargeDeclined", "402 code=card_declined")
        return f"{declined}, {await self._credits_stay(50)}"

    async def authenticate(self) -> str:
        await self._top_up(self._middle)
        waiting = "200 status=requires_action"
        await self._confirm("pm_card_authenticationRequired", waiting)
        before = await self._credits_stay(50)
        await self._client.control_sandbox("authenticate", intent_id=self._intent_id)
        return f"{before}, then {await self._credits_become(270)}"

    async def refund(self) -> str:
        await self._client.control_sandbox("refund", payment_intent_id=self._intent_id, amount=1000)
        return f"$10.00 of $20.00, {await self._credits_become(160)}"

    async def dispute(self) -> str:
        opened = await self._client.control_sandbox(
            "dispute", payment_intent_id=self._intent_id, amount=1000
        )
        taken = await self._credits_become(50)
        await self._client.control_sandbox(
            "close_dispute", dispute_id=opened.fields["id"], won=True
        )
        return f"{taken}, then {await self._credits_become(160)}"

    async def renew(self) -> str:
        received = await self._end_month("invoice.paid")
        await self._status_becomes("active, can buy")
        return f"{received}, {await self._credits_stay(160)}"

    async def cancel(self) -> str:
        response = await self._client.post(f"{IAM_PREFIX}/subscription/cancel")
        expect("200 cancel_at_period_end=True", response.summary("cancel_at_period_end"))
        return f"{response.summary('cancel_at_period_end')}, {await self._status()}"

    async def resume(self) -> str:
        response = await self._client.post(f"{IAM_PREFIX}/subscription/resume")
        expect("200 cancel_at_period_end=False", response.summary("cancel_at_period_end"))
        return response.summary("cancel_at_period_end")

    async def end(self) -> str:
        await self.cancel()
        await self._end_month("customer.subscription.deleted")
        return await self._status_becomes("canceled, cannot buy")

    async def refuse_top_up_again(self) -> str:
        refused = await self.refuse_top_up()
        await self._credits_stay(160)
        return f"{refused}, 160 credits"

    # Parts of steps

    @property
    def _intent_id(self) -> str:
        """The id of the latest PaymentIntent."""
        return self._client_secret.partition("_secret_")[0]

    async def _top_up(self, price: str, **more: Any) -> Response:
        response = await self._client.post(_TOP_UP, price_id=price, **more)
        expect("201", response.summary())
        self._client_secret = response.fields["client_secret"]
        return response

    async def _confirm(self, card: str, expected: str) -> str:
        response = await self._client.confirm_payment(self._client_secret, card)
        expect(expected, response.summary("status"))
        return response.summary("status")

    async def _end_month(self, event_type: str) -> str:
        self._earlier_deliveries = len(await self._client.list_deliveries())
        subscription = (await self._client.get(_SUBSCRIPTION)).fields["subscription"]
        await self._client.control_sandbox("renew", subscription_id=subscription["id"])
        return await self._receive(event_type)

    async def _receive(self, event_type: str) -> str:
        async def read_outcome() -> str:
            return f"{event_type} → {_outcome(await self._latest_delivery(event_type))}"

        return await self._wait_until(read_outcome, f"{event_type} → 200 processed")

    async def _latest_delivery(self, event_type: str) -> dict[str, Any]:
        attempts = (await self._client.list_deliveries())[self._earlier_deliveries :]
        return next((it for it in reversed(attempts) if it["type"] == event_type), {})

    async def _status(self) -> str:
        fields = (await self._client.get(_SUBSCRIPTION)).fields.get("subscription", {})
        can = "can" if fields.get("is_eligible") else "cannot"
        return f"{fields.get('status')}, {can} buy"

    async def _status_becomes(self, expected: str) -> str:
        return await self._wait_until(self._status, expected)

    async def _credits(self) -> str:
        fields = (await self._client.get(f"{IAM_PREFIX}/usage/credits")).fields
        return f"{fields.get('credits', {}).get('credits')} credits"

    async def _credits_become(self, number: int) -> str:
        return await self._wait_until(self._credits, f"{number} credits")

    async def _credits_stay(self, number: int) -> str:
        """Wait until every event is delivered, and return that the balance is unchanged."""
        response = await self._client.control_sandbox(
            "webhooks/settle", timeout=self._webhook_timeout
        )
        expect("200, all webhooks delivered", f"{response.status}, all webhooks delivered")
        expect(f"{number} credits", await self._credits())
        return f"still {number} credits"

    async def _wait_until(self, read: Callable[[], Awaitable[str]], expected: str) -> str:
        await expect_within(self._webhook_timeout, expected, read)
        return expected


def _price_list(prices: Any) -> str:
    return ", ".join(f"{amount} cents: {what}" for amount, what in prices.items())


def _outcome(attempt: dict[str, Any]) -> str:
    """Return the status and the outcome of a delivery attempt."""
    if not attempt:
        return "not delivered"
    try:
        outcome = json.loads(attempt["body"]).get("outcome", "")
    except ValueError:
        outcome = ""
    return f"{attempt['status']} {outcome}".rstrip()
