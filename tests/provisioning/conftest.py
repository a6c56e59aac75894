"""Fixtures of the tests of the set-up."""

from collections.abc import Iterator

import pytest
from tornado.ioloop import IOLoop

from datalayer_stripe.metrics import Metrics
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.stripe_api.client import StripeClient


@pytest.fixture
def client(io_loop: IOLoop, sandbox: Sandbox, quick_retries: None) -> Iterator[StripeClient]:
    """Return a client of the local Stripe with the secret key."""
    client = StripeClient(sandbox.secret_key, metrics=Metrics(), api_base=sandbox.url)
    yield client
    io_loop.run_sync(client.close)
