"""Fixtures of a local Stripe with products, and of a customer who buys them."""

from collections.abc import Iterator
from typing import Any

import pytest
from stripe import HTTPClient
from tornado.httpclient import HTTPResponse
from tornado.ioloop import IOLoop

from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import (
    ACCOUNT,
    PUBLISHABLE_KEY,
    RECORDED_PLAN_PRODUCT,
    STRIPE_KEY,
    WEBHOOK_SECRET,
    Api,
    Clock,
    json_of,
)

STRIPE_ROUTES = "/api/iam/stripe/v1"
IAM_ROUTES = "/api/iam/v1"
WEBHOOK_ROUTE = f"{STRIPE_ROUTES}/webhook"

DECLINED_CARD = "4000000000000002"
OTHER_ACCOUNT = "01JCZ3W8Q6T5N4M2K1H0OTHER00"


@pytest.fixture
def sandbox(io_loop: IOLoop, clock: Clock) -> Iterator[Sandbox]:
    """Start a local Stripe that retries failed deliveries quickly."""
    sandbox = Sandbox(
        STRIPE_KEY,
        PUBLISHABLE_KEY,
        clock=lambda: clock().timestamp(),
        retry_schedule=(0.05,) * 20,
    )
    io_loop.run_sync(lambda: sandbox.start(port=0))
    yield sandbox
    io_loop.run_sync(sandbox.stop)


class Shop:
    """Products in the sandbox: packages of 50, 220 and 600 credits, and a monthly plan."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.topup_product: str = sandbox.create_product(name="Credits")["id"]
        self.plan_product: str = sandbox.create_product(name="Datalayer Monthly")["id"]
        self.other_product: str = sandbox.create_product(name="Another product")["id"]
        # Products without prices that the settings of tests also contain.
        for product_id in (RECORDED_PLAN_PRODUCT, "prod_other"):
            sandbox.create_product(name="Recorded", id=product_id)
        self.packages: list[str] = [
            sandbox.create_price(
                product=self.topup_product, unit_amount=amount, currency="usd", credits=credits
            )["id"]
            for amount, credits in ((500, 50), (2000, 220), (5000, 600))
        ]
        self.plan: str = sandbox.create_price(
            product=self.plan_product,
            unit_amount=2900,
            currency="usd",
            recurring={"interval": "month"},
        )["id"]


@pytest.fixture
def shop(sandbox: Sandbox) -> Shop:
    return Shop(sandbox)


def subscribe_elsewhere(
    sandbox: Sandbox, price_id: str, account: str = ACCOUNT, **params: Any
) -> str:
    """Subscribe an account with a customer that the service has not created."""
    customer = sandbox.create_customer(payment_method="pm_card_visa")["id"]
    [method] = objects(sandbox, "/v1/payment_methods", customer=customer, type="card")
    made = sandbox.call(
        "POST",
        "/v1/subscriptions",
        customer=customer,
        items=[{"price": price_id}],
        default_payment_method=method["id"],
        metadata={"account_uid": account} if account else {},
        **params,
    )
    return str(made["id"])


@pytest.fixture
def webhooks(sandbox: Sandbox, api: Api) -> Webhooks:
    """Register the service as a webhook endpoint, and return the deliveries of the sandbox."""
    sandbox.create_webhook_endpoint(api.url + WEBHOOK_ROUTE, secret=WEBHOOK_SECRET)
    return sandbox.webhooks


class Buyer:
    """Owner of an account, who uses the HTTP API and the card form."""

    def __init__(self, api: Api, sandbox: Sandbox, shop: Shop, account: str = ACCOUNT) -> None:
        self.api = api
        self.sandbox = sandbox
        self.shop = shop
        self.account = account

    async def ask_to_subscribe(self, price_id: str | None = None, **claims: Any) -> HTTPResponse:
        path = f"{STRIPE_ROUTES}/subscription/payment-intent"
        body = {"price_id": price_id or self.shop.plan}
        return await self.api.post(path, body, self.account, **claims)

    async def subscribe(self) -> str:
        """Subscribe to the plan, pay, wait for the deliveries, and return the subscription's id."""
        started = json_of(await self.ask_to_subscribe())
        self.sandbox.confirm_payment(started["client_secret"])
        await self.sandbox.webhooks.settle()
        return str(started["subscription_id"])

    async def ask_to_buy(self, price_id: str | None = None, **headers: str) -> HTTPResponse:
        """Request the PaymentIntent of a package; `Idempotency_Key=…` sends that header."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        body = {"price_id": price_id or self.shop.packages[0]}
        path = f"{STRIPE_ROUTES}/topup/payment-intent"
        return await self.api.post(path, body, self.account, headers=sent)

    async def buy(self, price_id: str | None = None) -> dict[str, Any]:
        """Buy a package, wait for the deliveries, and return its paid PaymentIntent."""
        started = json_of(await self.ask_to_buy(price_id))
        intent = self.sandbox.confirm_payment(started["client_secret"])
        await self.sandbox.webhooks.settle()
        return intent

    async def plan(self) -> dict[str, Any]:
        """Return the subscription in the answer of `GET /subscription`."""
        answer = await self.api.get(f"{IAM_ROUTES}/subscription", self.account)
        return dict(json_of(answer)["subscription"])

    async def credits(self) -> int:
        return await self.api.credits(self.account)


@pytest.fixture
def buyer(api: Api, sandbox: Sandbox, shop: Shop) -> Buyer:
    return Buyer(api, sandbox, shop)


@pytest.fixture
def stranger(api: Api, sandbox: Sandbox, shop: Shop) -> Buyer:
    """Return the owner of another account."""
    return Buyer(api, sandbox, shop, OTHER_ACCOUNT)


def objects(sandbox: Sandbox, path: str, **params: Any) -> list[dict[str, Any]]:
    """Return the objects that Stripe lists at `path`, such as `/v1/customers`."""
    return list(sandbox.call("GET", path, limit=100, **params)["data"])


def calls(sandbox: Sandbox, method: str, path: str) -> int:
    """Return how many such requests the service has sent to Stripe."""
    return sum(call.method == method and call.path == path for call in sandbox.api.calls)


async def prices(api: Api) -> list[dict[str, Any]]:
    """Return the packages that the service lists."""
    answer = await api.get(f"{STRIPE_ROUTES}/topup/prices")
    assert answer.code == 200
    return list(json_of(answer)["prices"])


def package(sandbox: Sandbox, shop: Shop, unit_amount: int = 100, **params: Any) -> str:
    """Create another package, and return the id of its price."""
    params = {"product": shop.topup_product, "currency": "usd", **params}
    return str(sandbox.create_price(unit_amount=unit_amount, **params)["id"])


def set_product(sandbox: Sandbox, product_id: str, **params: Any) -> None:
    """Change a product at Stripe."""
    sandbox.call("POST", f"/v1/products/{product_id}", **params)


async def rows(service: Service, collection: str) -> list[dict[str, Any]]:
    """Return all documents of a collection."""
    return list(await service.store._database[collection].find().sort("_id").to_list(None))


async def insert(service: Service, collection: str, *documents: dict[str, Any]) -> None:
    """Insert documents into a collection."""
    await service.store._database[collection].insert_many(documents)


async def kept(service: Service) -> dict[str, int]:
    """Return the number of documents of each collection that is not empty."""
    names = set(await service.store._database.list_collection_names()) - {"service"}
    counts = {name: len(await rows(service, name)) for name in names}
    return {name: count for name, count in counts.items() if count}


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the retry backoff of Stripe's SDK."""
    monkeypatch.setattr(HTTPClient, "INITIAL_DELAY", 0.01)
    monkeypatch.setattr(HTTPClient, "MAX_DELAY", 0.02)
