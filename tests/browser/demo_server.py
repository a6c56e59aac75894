"""A running demo in a background thread, and one test's account in it."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, StaticFileHandler

from datalayer_stripe.app import make_app
from datalayer_stripe.auth import issue_token
from datalayer_stripe.composition import open_service
from datalayer_stripe.demo.environment import (
    ACCOUNT,
    OPERATOR_ROLE,
    DemoEnvironment,
    open_environment,
)
from datalayer_stripe.handlers.urls import ADMIN_PREFIX
from tests.browser.background import STEP_TIMEOUT, Background
from tests.support.app import Clock


class RunningDemo:
    """A running demo, which several tests can share.

    Attributes:
        background: The thread that runs it.
        environment: The service and the local Stripe.
        stack: Closes what tests add to it.
        clock: The clock of the service.
        paid_at: The epoch seconds at which Stripe completed each payment.
    """

    def __init__(
        self,
        background: Background,
        environment: DemoEnvironment,
        stack: AsyncExitStack,
        clock: Clock,
    ) -> None:
        self.background = background
        self.environment = environment
        self.stack = stack
        self.clock = clock
        self.paid_at: list[float] = []
        self._numbers = count(1)
        background.call(environment.sandbox.backend.on_event, self._record_payment)

    def new_account(self) -> str:
        """Return an account that no other test uses."""
        return f"account-{next(self._numbers)}"

    def reset(self) -> None:
        """End the faults that a test injected, and wait for all deliveries."""
        sandbox = self.environment.sandbox
        self.background.call(sandbox.api.normal)
        self.background.call(sandbox.webhooks.normal)
        self.background.call(sandbox.webhooks.settle)

    def _record_payment(self, event: dict[str, Any]) -> None:
        if event["type"] == "payment_intent.succeeded":
            self.paid_at.append(time.time())


class DemoServer:
    """A running demo, as the test of one account uses it.

    `url` is the address of the service, `stripe_url` that of the local Stripe.
    """

    def __init__(self, demo: RunningDemo, account: str = ACCOUNT) -> None:
        self._demo = demo
        self.account = account
        self.clock = demo.clock
        self.environment = demo.environment
        self.sandbox = demo.environment.sandbox
        self.settings = demo.environment.service.settings
        self.url = demo.environment.url
        self.stripe_url = self.sandbox.url
        self.packages = demo.environment.package_prices
        self.paid_at = demo.paid_at
        self.call: Callable[..., Any] = demo.background.call
        self.run: Callable[..., Any] = demo.background.run
        self._earlier_calls = len(self.sandbox.api.calls)

    def token(
        self, account: str | None = None, *, seconds: int = 3600, roles: Sequence[str] = ()
    ) -> str:
        """Return a bearer token that is valid for so many seconds."""
        account = account or self.account
        return issue_token(
            self.settings,
            account,
            lifetime=timedelta(seconds=seconds),
            handle=account,
            email=f"{account}@example.com",
            roles=roles,
            clock=self.clock,
        )

    def operator_token(self, *, seconds: int = 3600) -> str:
        """Return a bearer token of an operator, who is no customer."""
        return self.token("operator", seconds=seconds, roles=[OPERATOR_ROLE])

    @property
    def operator_url(self) -> str:
        """The address of the operator's page."""
        return f"{self.url}{ADMIN_PREFIX}"

    # The local Stripe

    def stripe(self, method: str, path: str, **params: Any) -> dict[str, Any]:
        """Call Stripe's API with the secret key."""
        return dict(self.call(self.sandbox.call, method, path, **params))

    def list_all(self, path: str, **params: Any) -> list[dict[str, Any]]:
        """Return what Stripe lists at `path`, such as `/v1/refunds`, of all accounts."""
        return list(self.stripe("GET", path, limit=100, **params)["data"])

    def list_own(self, path: str, **params: Any) -> list[dict[str, Any]]:
        """Return what Stripe lists at `path`, such as `/v1/charges`, of this account."""
        customers = {
            customer["id"]
            for customer in self.list_all("/v1/customers")
            if self.account in customer["metadata"].values()
        }
        return [item for item in self.list_all(path, **params) if item["customer"] in customers]

    def charges(self, amount: int) -> list[dict[str, Any]]:
        """Return this account's successful charges of an amount."""
        return [
            charge
            for charge in self.list_own("/v1/charges")
            if charge["paid"] and charge["amount"] == amount
        ]

    def stripe_calls(self) -> list[str]:
        """Return the paths of the requests that Stripe received during this test."""
        return [call.path for call in self.sandbox.api.calls[self._earlier_calls :]]

    def hold_webhooks(self) -> None:
        """Hold back all deliveries from now on."""
        self.call(self.sandbox.webhooks.hold)

    def release_webhooks(self) -> None:
        """Send the held deliveries, and wait until they have arrived."""
        self.call(self.sandbox.webhooks.release)
        self.settle()

    def settle(self) -> None:
        """Wait until every delivery has arrived."""
        self.call(self.sandbox.webhooks.settle)

    # Requests of an account outside the browser

    def request(
        self, method: str, path: str, account: str | None = None, **fields: Any
    ) -> dict[str, Any]:
        """Call a route of the service, such as `/v1/subscription`. An error does not raise."""
        request = Request(
            f"{self.url}/api/iam{path}",
            method=method,
            data=json.dumps(fields).encode() if method == "POST" else None,
            headers={
                "Authorization": f"Bearer {self.token(account)}",
                "Content-Type": "application/json",
            },
        )
        try:
            with urlopen(request, timeout=30) as response:
                return dict(json.load(response))
        except HTTPError as error:
            with error:
                return dict(json.load(error))

    def subscribe(self, account: str | None = None) -> str:
        """Subscribe an account, pay, and return the subscription's id after all deliveries."""
        path, price = "/stripe/v1/subscription/payment-intent", self.environment.plan_price
        started = self.request("POST", path, account, price_id=price)
        self.pay(started["client_secret"])
        return str(started["subscription_id"])

    def buy(self, package: int = 0, account: str | None = None) -> str:
        """Buy a package, and return the PaymentIntent's id after all deliveries."""
        path, price = "/stripe/v1/topup/payment-intent", self.packages[package]
        started = self.request("POST", path, account, price_id=price)
        self.pay(started["client_secret"])
        return str(started["payment_intent_id"])

    def pay(self, client_secret: str) -> None:
        """Pay with a valid card, as Stripe.js does, and wait for all deliveries."""
        self.call(self.sandbox.confirm_payment, client_secret)
        self.settle()

    def credits(self) -> int:
        """Return this account's balance in the service's database."""
        return int(self.call(self.environment.service.store.accounts.get, self.account).credits)

    def wait_for_streams(self, number: int) -> None:
        """Wait until exactly so many event streams are open."""
        registry = self.environment.service.metrics.registry
        deadline = time.monotonic() + STEP_TIMEOUT
        while (now := registry.get_sample_value("datalayer_stripe_streams")) != number:
            assert time.monotonic() < deadline, f"{now} streams are open, not {number}"
            time.sleep(0.02)

    # More servers

    def serve(self, folder: Path) -> str:
        """Serve the files of a folder, and return the server's URL."""
        return str(self.run(self._listen(static_files(folder))))

    def another_service(self, **changes: Any) -> str:
        """Start another service on the same database, and return its URL.

        `changes` are fields of its settings.
        """

        async def start() -> str:
            settings = self.settings.model_copy(update=changes)
            service = await open_service(settings, clock=self.clock)
            self._demo.stack.push_async_callback(service.close)
            return await self._listen(make_app(service))

        return str(self.run(start()))

    async def _listen(self, app: Application) -> str:
        server = HTTPServer(app)
        [socket] = bind_sockets(0, "127.0.0.1")
        server.add_socket(socket)
        self._demo.stack.push_async_callback(server.close_all_connections)
        self._demo.stack.callback(server.stop)
        return f"http://127.0.0.1:{socket.getsockname()[1]}"


def static_files(folder: Path) -> Application:
    """Return an application that serves the files of a folder."""
    return Application(
        [("/(.*)", StaticFileHandler, {"path": str(folder)})], log_function=lambda _: None
    )


@contextmanager
def running_demo(mongodb_url: str = "memory://") -> Iterator[RunningDemo]:
    """Start a demo on free ports, and stop it at the end."""
    background, clock = Background(), Clock(frozen_at=None)
    stack = AsyncExitStack()
    try:
        environment = background.run(
            stack.enter_async_context(
                open_environment(port=0, sandbox_port=0, mongodb_url=mongodb_url, clock=clock)
            )
        )
        yield RunningDemo(background, environment, stack, clock)
        background.run(stack.aclose())
    finally:
        background.close()
