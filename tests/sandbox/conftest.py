"""Fixtures: a sandbox whose objects are all validated, the unmodified SDK, a webhook endpoint."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import stripe
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders
from tornado.ioloop import IOLoop
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from datalayer_stripe.sandbox import Sandbox
from tests.sandbox.schemas import check, check_error

SECRET = "whsec_example"
FORM = "application/x-www-form-urlencoded"


@dataclass
class Receiver:
    """A webhook endpoint that records its requests.

    Attributes:
        url: the endpoint's URL.
        answers: the HTTP statuses of the next answers; 200 when the list is empty.
        requests: headers and body of each request, oldest first.
    """

    url: str
    answers: list[int] = field(default_factory=list)
    requests: list[tuple[HTTPHeaders, bytes]] = field(default_factory=list)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.requests]

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]


class _ReceiverHandler(RequestHandler):
    def initialize(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def post(self) -> None:
        self._receiver.requests.append((self.request.headers, self.request.body))
        status = self._receiver.answers.pop(0) if self._receiver.answers else 200
        self.set_status(status)
        self.finish(f"answered {status}")


@pytest.fixture
def sandbox(io_loop: IOLoop) -> Iterator[Sandbox]:
    """A sandbox with fast retries; its objects are validated against the schemas at the end."""
    sandbox = Sandbox(seed=1, retry_schedule=(0.01, 0.01, 0.01))
    io_loop.run_sync(sandbox.start)
    yield sandbox
    io_loop.run_sync(sandbox.stop)
    for event in sandbox.events:
        check(event)
        check(event["data"]["object"])
    for obj in list(sandbox.backend.store):
        check(obj)


@pytest.fixture
def client(io_loop: IOLoop, sandbox: Sandbox) -> Iterator[stripe.StripeClient]:
    """The unmodified Stripe SDK as a client of the sandbox."""
    transport = stripe.AIOHTTPClient()
    yield stripe.StripeClient(
        sandbox.secret_key,
        base_addresses={"api": sandbox.url},
        http_client=transport,
        stripe_version="2026-10-28.endive",
        max_network_retries=0,
    )
    io_loop.run_sync(transport.close_async)


@pytest.fixture
def new_receiver(io_loop: IOLoop) -> Iterator[Callable[[], Receiver]]:
    """Return a function that starts an endpoint: `new_receiver()`."""
    servers: list[HTTPServer] = []

    def start() -> Receiver:
        socket, port = bind_unused_port()
        receiver = Receiver(f"http://127.0.0.1:{port}/hook")
        server = HTTPServer(Application([("/hook", _ReceiverHandler, {"receiver": receiver})]))
        server.add_socket(socket)
        servers.append(server)
        return receiver

    yield start
    for server in servers:
        server.stop()
        io_loop.run_sync(server.close_all_connections)


@pytest.fixture
def receiver(new_receiver: Callable[[], Receiver], sandbox: Sandbox) -> Receiver:
    """An endpoint that receives all events of the sandbox."""
    receiver = new_receiver()
    sandbox.create_webhook_endpoint(receiver.url, SECRET)
    return receiver


class Http:
    """HTTP client of the sandbox that returns error answers instead of raising them.

    It sends the secret key, unless `key` is another key or None.
    """

    def __init__(self, url: str, secret_key: str) -> None:
        self._url = url
        self._secret_key = secret_key
        self._client = AsyncHTTPClient(force_instance=True, max_clients=50)

    async def __call__(
        self,
        method: str,
        path: str,
        body: str | None = None,
        *,
        key: str | None = "",
        **headers: str,
    ) -> HTTPResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            named.setdefault("Authorization", f"Bearer {key or self._secret_key}")
        return await self._client.fetch(
            self._url + path,
            method=method,
            body=body,
            headers=named,
            allow_nonstandard_methods=True,
            follow_redirects=False,
            raise_error=False,
        )

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def http(sandbox: Sandbox, io_loop: IOLoop) -> Iterator[Http]:
    """An HTTP client of the sandbox."""
    http = Http(sandbox.url, sandbox.secret_key)
    yield http
    http.close()


@dataclass
class Shop:
    """Identifiers of products, prices and a customer."""

    product: str
    price: str
    plan: str
    monthly: str
    customer: str


def create_subscription(sandbox: Sandbox, shop: Shop) -> dict[str, Any]:
    """Create a subscription to the monthly plan that waits for its first payment."""
    return sandbox.call(
        "POST",
        "/v1/subscriptions",
        customer=shop.customer,
        items=[{"price": shop.monthly}],
        payment_behavior="default_incomplete",
        payment_settings={"save_default_payment_method": "on_subscription"},
        expand=["latest_invoice.confirmation_secret"],
    )


@pytest.fixture
def shop(sandbox: Sandbox) -> Shop:
    """A package of 50 credits, a monthly plan of $29, and a customer."""
    product = sandbox.create_product(name="Credits")["id"]
    plan = sandbox.create_product(name="Monthly")["id"]
    return Shop(
        product=product,
        price=sandbox.create_price(product=product, unit_amount=500, credits=50)["id"],
        plan=plan,
        monthly=sandbox.create_price(
            product=plan, unit_amount=2900, recurring={"interval": "month"}
        )["id"],
        customer=sandbox.create_customer(email="ada@example.com", name="Ada")["id"],
    )


def event_types(sandbox: Sandbox, since: int = 0) -> list[str]:
    """Return the types of the events after the first `since`, oldest first."""
    return [event["type"] for event in sandbox.events[since:]]


def last_event_data(sandbox: Sandbox, type: str) -> dict[str, Any]:
    """Return the `data` of the newest event of a type."""
    return next(event["data"] for event in reversed(sandbox.events) if event["type"] == type)


def error_of(response: HTTPResponse) -> dict[str, Any]:
    """Return the validated error in the body of an API answer."""
    body = json.loads(response.body)
    check_error(body)
    return body["error"]


def pay(sandbox: Sandbox, card: str = "pm_card_visa") -> str:
    """Pay $5.00 with a test card and return the PaymentIntent's identifier."""
    intent = sandbox.call("POST", "/v1/payment_intents", amount=500, currency="usd")
    return str(sandbox.confirm_payment(intent["client_secret"], card)["id"])


async def run_control(http: Http, name: str, **arguments: Any) -> Any:
    """Run a control, and return its answer after checking that it succeeded."""
    response = await http(
        "POST",
        f"/sandbox/{name}",
        json.dumps(arguments),
        key=None,
        Content_Type="application/json",
    )
    body = json.loads(response.body)
    assert response.code == 200, body
    return body


async def get_report(http: Http, name: str) -> Any:
    """Return a report of the sandbox."""
    return json.loads((await http("GET", f"/sandbox/{name}", key=None)).body)
