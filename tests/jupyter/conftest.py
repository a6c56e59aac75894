"""Fixtures: Jupyter Servers with the extension, and a sandbox of Stripe."""

from collections.abc import Iterator

import pytest

from datalayer_stripe.sandbox import Sandbox
from tests.browser.background import Background
from tests.support.app import ADMIN_ROLE, WEBHOOK_SECRET
from tests.support.command import complete
from tests.support.jupyter import BASE_URL, WEBHOOK, JupyterServer
from tests.support.shop import Shop

# Jupyter's token authenticates the user that a header names. `mallory` may do nothing, and
# `reader` may only read.
_CONFIG = """
from jupyter_server.auth import Authorizer, User
from jupyter_server.auth.identity import PasswordIdentityProvider


class HeaderIdentityProvider(PasswordIdentityProvider):
    def generate_anonymous_user(self, handler):
        return User(handler.request.headers.get("X-Person", "ada"))


class TestAuthorizer(Authorizer):
    def is_authorized(self, handler, user, action, resource):
        if resource != "datalayer_stripe" or user.username == "mallory":
            return False
        return action == "read" or user.username != "reader"


c.ServerApp.identity_provider_class = HeaderIdentityProvider
c.ServerApp.authorizer_class = TestAuthorizer
c.ServerApp.allow_unauthenticated_access = False
c.DatalayerStripe.stripe_admin_role = "platform_admin"
c.DatalayerStripe.stripe_webhook_secret = [
    "whsec_rolledRolledRolledRolled00",
    "whsec_testsTestsTestsTestsTests",
]
"""


class Stripe:
    """Sandbox of Stripe in a thread of its own, with packages and a plan."""

    def __init__(self, background: Background) -> None:
        self._background = background
        self.sandbox = Sandbox(retry_schedule=(0.05,) * 20)
        background.run(self.sandbox.start(port=0))
        self.shop: Shop = background.call(Shop, self.sandbox)

    def variables(self, mongodb_url: str = "memory://") -> dict[str, str]:
        """Return all environment variables of a service that uses this sandbox."""
        variables = complete(mongodb_url, self.sandbox, self.shop)
        return {name: value for name, value in variables.items() if "DATALAYER" in name}

    def deliver_to(self, server: JupyterServer) -> None:
        """Deliver all events to the webhook of `server` from now on."""
        url = server.url + BASE_URL.rstrip("/") + WEBHOOK
        self._background.call(self.sandbox.create_webhook_endpoint, url, secret=WEBHOOK_SECRET)

    def pay(self, client_secret: str) -> None:
        """Pay with a valid card, and wait until all events are delivered."""
        self._background.call(self.sandbox.confirm_payment, client_secret)
        self._background.call(self.sandbox.webhooks.settle)


@pytest.fixture(scope="module")
def stripe() -> Iterator[Stripe]:
    background = Background()
    stripe = Stripe(background)
    yield stripe
    background.run(stripe.sandbox.stop())
    background.close()


@pytest.fixture(scope="module")
def server(stripe: Stripe, tmp_path_factory: pytest.TempPathFactory) -> Iterator[JupyterServer]:
    """Start a server that authenticates users by name and refuses anonymous requests."""
    variables = {
        **stripe.variables(),
        "DATALAYER_STRIPE_WEBHOOK_SECRET": "whsec_ofNobodyOfNobodyOfNobody00",
        "DATALAYER_STRIPE_ADMIN_ROLE": ADMIN_ROLE,
    }
    with JupyterServer(tmp_path_factory.mktemp("jupyter"), variables, _CONFIG) as server:
        stripe.deliver_to(server)
        yield server.wait_until_open()
