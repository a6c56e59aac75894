"""The service and its local Stripe, as a test in another thread uses them."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, StaticFileHandler

from datalayer_stripe.app import make_app
from datalayer_stripe.auth import issue_token
from datalayer_stripe.demo.environment import ACCOUNT, DemoEnvironment, open_environment
from datalayer_stripe.service import open_service
from tests.browser.background import PATIENCE, Background
from tests.support.app import Clock


class Town:
    """A running demo. `url` is the service's, `stripe_url` the local Stripe's."""

    def __init__(
        self, background: Background, stage: DemoEnvironment, stack: AsyncExitStack, clock: Clock
    ) -> None:
        self._background = background
        self.clock = clock
        self._stack = stack
        self.stage = stage
        self.sandbox = stage.sandbox
        self.settings = stage.service.settings
        self.url = stage.url
        self.stripe_url = stage.sandbox.url
        self.packages = stage.package_prices
        self.call: Callable[..., Any] = background.call
        self.run: Callable[..., Any] = background.run
        self.paid_at: list[float] = []
        self.call(self.sandbox.backend.on_event, self._note)

    def token(self, account: str = ACCOUNT, *, seconds: int = 3600) -> str:
        """A bearer token that is good for so many seconds."""
        return issue_token(
            self.settings,
            account,
            lifetime=timedelta(seconds=seconds),
            handle=account,
            email=f"{account}@example.com",
            clock=self.clock,
        )

    # Stripe's side

    def stripe(self, method: str, path: str, **params: Any) -> dict[str, Any]:
        """Call Stripe's API as with the secret key."""
        return dict(self.call(self.sandbox.call, method, path, **params))

    def listed(self, path: str, **params: Any) -> list[dict[str, Any]]:
        """What Stripe lists at `path`, such as `/v1/charges`."""
        return list(self.stripe("GET", path, limit=100, **params)["data"])

    def charges(self, amount: int) -> list[dict[str, Any]]:
        """The charges of this amount that Stripe has taken."""
        return [
            charge
            for charge in self.listed("/v1/charges")
            if charge["paid"] and charge["amount"] == amount
        ]

    def hold_webhooks(self) -> None:
        """Hold back all deliveries from now on."""
        self.call(self.sandbox.webhooks.hold)

    def release_webhooks(self) -> None:
        """Let them go, and wait until they have arrived."""
        self.call(self.sandbox.webhooks.release)
        self.settle()

    def settle(self) -> None:
        """Wait until no delivery is on its way."""
        self.call(self.sandbox.webhooks.settle)

    # What an account does elsewhere

    def ask(self, method: str, path: str, account: str = ACCOUNT, **fields: Any) -> dict[str, Any]:
        """Call a route of the service, such as `/v1/subscription`; errors are answers too."""
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
            with urlopen(request, timeout=30) as answer:
                return dict(json.load(answer))
        except HTTPError as error:
            with error:
                return dict(json.load(error))

    def subscribe(self, account: str = ACCOUNT) -> str:
        """Subscribe an account and pay, and return the subscription's id when all is delivered."""
        path, price = "/stripe/v1/subscription/payment-intent", self.stage.plan_price
        started = self.ask("POST", path, account, price_id=price)
        self.pay(started["client_secret"])
        return str(started["subscription_id"])

    def buy(self, package: int = 0, account: str = ACCOUNT) -> str:
        """Buy a package, and return the paid PaymentIntent's id when all is delivered."""
        path, price = "/stripe/v1/topup/payment-intent", self.packages[package]
        started = self.ask("POST", path, account, price_id=price)
        self.pay(started["client_secret"])
        return str(started["payment_intent_id"])

    def pay(self, client_secret: str) -> None:
        """Pay as Stripe.js does, by a good card, and wait until all is delivered."""
        self.call(self.sandbox.confirm_payment, client_secret)
        self.settle()

    def _note(self, event: dict[str, Any]) -> None:
        """Keep the epoch seconds at which Stripe took a payment."""
        if event["type"] == "payment_intent.succeeded":
            self.paid_at.append(time.time())

    def credits(self, account: str = ACCOUNT) -> int:
        """The balance, as the service keeps it."""
        return int(self.call(self.stage.service.store.accounts.get, account).credits)

    def streams_become(self, number: int) -> None:
        """Wait until so many streams are open."""
        registry = self.stage.service.metrics.registry
        deadline = time.monotonic() + PATIENCE
        while (now := registry.get_sample_value("datalayer_stripe_streams")) != number:
            assert time.monotonic() < deadline, f"{now} streams are open, not {number}"
            time.sleep(0.02)

    # More servers

    def serve(self, folder: Path) -> str:
        """Serve the files of a folder, and return the server's URL."""
        return self._background.run(self._listen(static_files(folder)))

    def another_service(self, **changes: Any) -> str:
        """Start one more service on the same database, and return its URL.

        `changes` are fields of its settings.
        """

        async def start() -> str:
            settings = self.settings.model_copy(update=changes)
            service = await open_service(settings, clock=self.clock)
            self._stack.push_async_callback(service.close)
            return await self._listen(make_app(service))

        return self._background.run(start())

    async def _listen(self, app: Application) -> str:
        server = HTTPServer(app)
        [socket] = bind_sockets(0, "127.0.0.1")
        server.add_socket(socket)
        self._stack.push_async_callback(server.close_all_connections)
        self._stack.callback(server.stop)
        return f"http://127.0.0.1:{socket.getsockname()[1]}"


def static_files(folder: Path) -> Application:
    return Application(
        [("/(.*)", StaticFileHandler, {"path": str(folder)})], log_function=lambda _: None
    )


@contextmanager
def open_town(mongodb_url: str) -> Iterator[Town]:
    """Start everything on free ports, and stop it in the end."""
    background, clock = Background(), Clock(frozen_at=None)
    stack = AsyncExitStack()
    try:
        stage = background.run(
            stack.enter_async_context(
                open_environment(port=0, sandbox_port=0, mongodb_url=mongodb_url, clock=clock)
            )
        )
        yield Town(background, stage, stack, clock)
        background.run(stack.aclose())
    finally:
        background.close()
