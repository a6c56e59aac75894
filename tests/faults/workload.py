"""The load on the services: events at Stripe, and requests of buyers."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPError, HTTPRequest

from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.api.browser import intent_id
from datalayer_stripe.sandbox.engine.errors import SandboxCardError
from tests.support.app import json_of
from tests.support.shop import DECLINED_CARD, STRIPE_ROUTES, Shop, subscribe_elsewhere

HOT_ACCOUNT = "account-hot"
OTHER_ACCOUNTS = [f"account-{number}" for number in range(6)]
BUYERS = [f"buyer-{number}" for number in range(3)]

_CREDITS = (50, 220, 600)
_MAX_SUBSCRIPTIONS = 40

# The service is not available, or the same request is still in progress.
_RETRY_STATUSES = frozenset({409, 429, 503})
_RETRY_BACKOFF = 0.1  # seconds


class Workload:
    """Payments, most of them of one account, and changes of subscriptions."""

    def __init__(self, sandbox: Sandbox, shop: Shop, rng: random.Random) -> None:
        self._sandbox = sandbox
        self._shop = shop
        self._rng = rng
        self._subscriptions: list[str] = []

    def step(self) -> None:
        """Make one payment, subscription or change at Stripe."""
        if self._rng.random() < 0.8:
            self._pay(HOT_ACCOUNT if self._rng.random() < 0.7 else self._rng.choice(OTHER_ACCOUNTS))
        elif len(self._subscriptions) < _MAX_SUBSCRIPTIONS and self._rng.random() < 0.5:
            account = self._rng.choice(OTHER_ACCOUNTS)
            made = subscribe_elsewhere(self._sandbox, self._shop.plan, account)
            self._subscriptions.append(made)
        elif self._subscriptions:
            self._change(self._rng.choice(self._subscriptions))

    def _pay(self, account: str) -> None:
        """Pay a package; one in ten cards is declined."""
        package = self._rng.randrange(len(_CREDITS))
        intent = self._sandbox.call(
            "POST",
            "/v1/payment_intents",
            amount=(500, 2000, 5000)[package],
            currency="usd",
            metadata={
                "account_uid": account,
                "price_id": self._shop.packages[package],
                "credits": str(_CREDITS[package]),
            },
        )
        pay(self._sandbox, intent, declined=self._rng.random() < 0.1)

    def _change(self, subscription_id: str) -> None:
        status = self._sandbox.get(subscription_id)["status"]
        if status not in {"active", "past_due"}:
            return
        match self._rng.randrange(6):
            case 0 | 1:
                self._sandbox.renew(subscription_id)
            case 2:
                self._sandbox.renew(subscription_id, fail=True)
            case 3:
                self._sandbox.cancel_subscription(subscription_id, now=False)
            case 4:
                path = f"/v1/subscriptions/{subscription_id}"
                self._sandbox.call("POST", path, cancel_at_period_end=False)
            case 5 if self._rng.random() < 0.2:
                self._sandbox.cancel_subscription(subscription_id)


def pay(sandbox: Sandbox, intent: dict[str, Any], *, declined: bool = False) -> None:
    """Confirm a PaymentIntent as the browser does, with a card that is accepted or declined."""
    try:
        sandbox.confirm_payment(intent["id"], DECLINED_CARD if declined else "4242424242424242")
    except SandboxCardError:
        assert declined


class Buyer:
    """A person who subscribes, then buys packages, and retries after an error."""

    def __init__(self, account: str, url: str, token: str, sandbox: Sandbox, shop: Shop) -> None:
        self.account = account
        self.bought = 0
        self.answers: Counter[str] = Counter()
        self._url = url
        self._token = token
        self._sandbox = sandbox
        self._shop = shop

    async def buy_packages(self, has_more: Callable[[], Awaitable[bool]]) -> None:
        """Subscribe, and buy packages while `has_more` returns true."""
        started = await self._request("subscription", self._shop.plan)
        pay(self._sandbox, self._sandbox.get(intent_id(started["client_secret"])))
        while await has_more():
            self.bought += 1
            package = self._shop.packages[self.bought % len(self._shop.packages)]
            started = await self._request("topup", package, f"purchase-{self.bought}")
            pay(self._sandbox, self._sandbox.get(started["payment_intent_id"]))

    async def _request(self, kind: str, price_id: str, key: str = "none") -> dict[str, Any]:
        """Send a request until it succeeds. The service may be unavailable, but must not fail."""
        http = AsyncHTTPClient(force_instance=True)
        request = HTTPRequest(
            f"{self._url}{STRIPE_ROUTES}/{kind}/payment-intent",
            method="POST",
            headers={
                "Authorization": f"Bearer {self._token}",
                "Content-Type": "application/json",
                "Idempotency-Key": key,
            },
            body=json.dumps({"price_id": price_id}),
            request_timeout=30,
        )
        try:
            while True:
                try:
                    answer = await http.fetch(request, raise_error=False)
                except (OSError, HTTPError):
                    self.answers["no answer"] += 1
                else:
                    self.answers[str(answer.code)] += 1
                    assert answer.code in {201, *_RETRY_STATUSES}, answer.body
                    if answer.code == 201:
                        return json_of(answer)
                await asyncio.sleep(_RETRY_BACKOFF)
        finally:
            http.close()
