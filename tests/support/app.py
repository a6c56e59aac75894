"""Fixtures of a complete service: database, Stripe, clock, HTTP server and client.

A test uses the fixture `api`. With the marker `mongod` the service runs on a real MongoDB,
otherwise on `memory://`. With the fixture `sandbox` it has a local Stripe; without it, Stripe
cannot be reached.
"""

import hmac
import json
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.testing import bind_unused_port
from tornado.web import Application

from datalayer_stripe.app import make_app
from datalayer_stripe.composition import open_service
from datalayer_stripe.limits import AccountRateLimiter
from datalayer_stripe.plugin_api.registry import Plugin, Registry
from datalayer_stripe.service import Service
from datalayer_stripe.settings import Settings
from datalayer_stripe.testing.clock import Clock
from datalayer_stripe.testing.plugin_environment import RECORDED_PLAN_PRODUCT
from datalayer_stripe.testing.recordings import EVENTS
from datalayer_stripe.webhooks.metric_series import create_series
from tests.support.database import DRIVER
from tests.support.openapi_answers import check_answer

ACCOUNT = "01JCZ3W8Q6T5N4M2K1H0G9F8E7"  # The account of the recorded events.
STRIPE_KEY = "sk_test_tests"
PUBLISHABLE_KEY = "pk_test_tests"
WEBHOOK_SECRET = "whsec_testsTestsTestsTestsTests"

ADMIN_ROLE = "platform_admin"
OPERATOR = "01JCZOPERATOR00000000000000"

JWT_SECRET = "jwt-secret-of-the-tests-0123456789abcdef"

UNREACHABLE_URL = "http://127.0.0.1:9"  # The discard port.


def recorded(name: str) -> bytes:
    """Return the body of a recorded delivery."""
    return (EVENTS / f"{name}.json").read_bytes()


def changed(body: bytes, *, id: str | None = None, **fields: Any) -> bytes:
    """Return a recorded body with another event id and changed fields of its object."""
    event = json.loads(body)
    event["id"] = id or f"evt_{uuid.uuid4().hex}"
    event["data"]["object"].update(fields)
    return json.dumps(event).encode()


def sign(body: bytes, *, secret: str = WEBHOOK_SECRET, at: float | None = None) -> str:
    """Return a valid Stripe-Signature header: https://docs.stripe.com/webhooks#verify-manually."""
    timestamp = int(time.time() if at is None else at)
    signed = f"{timestamp}.".encode() + body
    return f"t={timestamp},v1={hmac.new(secret.encode(), signed, 'sha256').hexdigest()}"


class Api:
    """HTTP client of the service under test."""

    def __init__(self, port: int, service: Service, bearer: Callable[..., str]) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.service = service
        self.bearer = bearer
        self.http = AsyncHTTPClient(
            force_instance=True,
            max_clients=200,
            # Long enough for a busy machine.
            defaults={"connect_timeout": 60.0, "request_timeout": 60.0},
        )

    async def request(self, method: str, path: str, **options: Any) -> HTTPResponse:
        """Send a request. An error status does not raise an exception.

        The answer must be as the description of the HTTP API says.
        """
        options.setdefault("allow_nonstandard_methods", True)
        url = self.url + path
        answer = await self.http.fetch(url, method=method, raise_error=False, **options)
        check_answer(method, path, answer)
        return answer

    async def get(self, path: str, account: str | None = ACCOUNT, **claims: Any) -> HTTPResponse:
        return await self.request("GET", path, headers=self._headers(account, claims))

    async def get_as_operator(self, path: str) -> HTTPResponse:
        return await self.get(path, OPERATOR, user={"roles": [ADMIN_ROLE]})

    async def post_as_operator(self, path: str) -> HTTPResponse:
        return await self.post(path, {}, OPERATOR, user={"roles": [ADMIN_ROLE]})

    async def post(
        self,
        path: str,
        fields: Any = None,
        account: str | None = ACCOUNT,
        headers: dict[str, str] | None = None,
        **claims: Any,
    ) -> HTTPResponse:
        body = b"" if fields is None else json.dumps(fields).encode()
        sent = self._headers(account, claims)
        if fields is not None:
            sent["Content-Type"] = "application/json"
        return await self.request("POST", path, body=body, headers={**sent, **(headers or {})})

    async def deliver(self, body: bytes, signature: str | None = None) -> HTTPResponse:
        """POST an event with a valid or the given signature; an empty one sends no header."""
        headers = {"Content-Type": "application/json; charset=utf-8"}
        signature = sign(body) if signature is None else signature
        if signature:
            headers["Stripe-Signature"] = signature
        path = "/api/iam/stripe/v1/webhook"
        return await self.request("POST", path, body=body, headers=headers)

    async def credits(self, account: str = ACCOUNT) -> int:
        """Return the balance that the HTTP API reports."""
        answer = await self.get("/api/iam/v1/usage/credits", account)
        return int(json_of(answer)["credits"]["credits"])

    def _headers(self, account: str | None, claims: dict[str, Any]) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.bearer(account, **claims)}"} if account else {}


def json_of(answer: HTTPResponse) -> dict[str, Any]:
    return dict(json.loads(answer.body))


@pytest.fixture
def clock() -> Clock:
    """Return a running clock that a test can move."""
    return Clock(frozen_at=None)


@pytest.fixture
def settings(request: pytest.FixtureRequest) -> Settings:
    """Return test-mode settings for the other fixtures of the test."""
    shop = request.getfixturevalue("shop") if "shop" in request.fixturenames else None
    url = "memory://"
    if request.node.get_closest_marker("mongod"):
        is_new = "mongodb_url" in request.fixturenames
        url = request.getfixturevalue("mongodb_url" if is_new else "emptied_mongodb_url")
    api_base = UNREACHABLE_URL
    if "sandbox" in request.fixturenames:
        api_base = request.getfixturevalue("sandbox").url
    return Settings(
        stripe_api_key=STRIPE_KEY,
        stripe_js_api_key=PUBLISHABLE_KEY,
        stripe_topup_product_id=shop.topup_product if shop else "prod_topup",
        stripe_subscription_product_ids=",".join(
            [RECORDED_PLAN_PRODUCT, *([shop.plan_product] if shop else [])]
        ),
        stripe_webhook_secrets=f"{WEBHOOK_SECRET},whsec_rolledRolledRolledRolled00",
        stripe_cust_portal_id="bpc_example",
        stripe_cust_portal_url="https://billing.example.com/p/login/test",
        stripe_mongodb_url=url,
        stripe_mongodb_driver=DRIVER,
        stripe_api_base=api_base,
        stripe_requests_per_second=10_000,  # the local Stripe has no limit
        stripe_admin_role=ADMIN_ROLE,
        jwt_secret=JWT_SECRET,
    )


@pytest.fixture
def extra_plugins() -> Sequence[Plugin]:
    """Return plugins in addition to the built-in ones. A test module overrides this."""
    return ()


@pytest.fixture(scope="session")
def installed_plugins() -> Sequence[Plugin]:
    """Return the installed plugins. They are frozen, so that tests can share them."""
    return Registry.load().plugins


@pytest.fixture
def service(
    io_loop: IOLoop,
    settings: Settings,
    clock: Clock,
    installed_plugins: Sequence[Plugin],
    extra_plugins: Sequence[Plugin],
) -> Iterator[Service]:
    registry = Registry((*installed_plugins, *extra_plugins))
    service = io_loop.run_sync(lambda: open_service(settings, registry=registry, clock=clock))
    yield service
    io_loop.run_sync(service.close)


@pytest.fixture
def series_at_zero(service: Service) -> None:
    """Create the series of counters, as :meth:`Service.start` does, without what else it starts."""
    create_series(service.metrics, service.registry)


@pytest.fixture
def unlimited(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch off the rate limit of requests to Stripe."""
    monkeypatch.setattr(AccountRateLimiter, "take", lambda *_: None)


@pytest.fixture
def app(service: Service) -> Application:
    return make_app(service)


@pytest.fixture
def api(
    io_loop: IOLoop, app: Application, service: Service, bearer: Callable[..., str]
) -> Iterator[Api]:
    listener, port = bind_unused_port()
    server = HTTPServer(app, max_body_size=8 * 1024 * 1024)
    server.add_socket(listener)
    api = Api(port, service, bearer)
    yield api
    api.http.close()
    server.stop()
    io_loop.run_sync(server.close_all_connections)
