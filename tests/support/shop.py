"""A local Stripe with something to sell."""

from collections.abc import Iterator

import pytest
from tornado.ioloop import IOLoop

from datalayer_stripe.sandbox import Sandbox
from tests.support.app import Clock


@pytest.fixture
def sandbox(io_loop: IOLoop, clock: Clock) -> Iterator[Sandbox]:
    """A local Stripe that sells packages of 50, 220 and 600 credits and a monthly plan."""
    sandbox = Sandbox(clock=lambda: clock().timestamp())
    io_loop.run_sync(lambda: sandbox.start(port=0))
    yield sandbox
    io_loop.run_sync(sandbox.stop)


class Shop:
    """What the sandbox sells, as the ids that Stripe gave."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.topup_product: str = sandbox.create_product(name="Credits")["id"]
        self.plan_product: str = sandbox.create_product(name="Datalayer Monthly")["id"]
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
