"""A service that is set up correctly, with a local Stripe and a database in memory."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from tornado.httpserver import HTTPServer
from tornado.testing import bind_unused_port
from tornado.web import Application, RequestHandler

from datalayer_stripe.cli.doctor import open_context
from datalayer_stripe.configuration import try_configuration
from datalayer_stripe.doctor.checks import Finding
from datalayer_stripe.doctor.report import run_checks
from datalayer_stripe.errors import InvalidSignature
from datalayer_stripe.events import parse, verify
from datalayer_stripe.handlers.urls import WEBHOOK_PATH
from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.store import Store
from datalayer_stripe.stripe_api.transport import STRIPE_VERSION
from datalayer_stripe.testing.clock import Clock
from tests.support.app import JWT_SECRET, WEBHOOK_SECRET, changed, recorded

URL = f"http://127.0.0.1:9{WEBHOOK_PATH}"


def managed_with(secret: str) -> dict[str, str]:
    """Return the metadata of an endpoint that the service manages and that has this secret."""
    digest = hashlib.sha256(secret.encode()).hexdigest()[:32]
    return {"managed_by": "datalayer-stripe", "secret_sha256": digest}


class Webhook(RequestHandler):
    """Answers a delivery as a service that knows WEBHOOK_SECRET only."""

    def post(self) -> None:
        body, signature = self.request.body, self.request.headers["Stripe-Signature"]
        try:
            verify(body, signature, [SecretStr(WEBHOOK_SECRET)], time.time())
        except InvalidSignature as error:
            self.set_status(error.status)
            self.finish({"code": error.code, "message": error.message})
        else:
            self.finish({"received": True, "event": json.loads(body)["id"]})


@dataclass
class Scene:
    """What a test changes to plant a fault.

    Attributes:
        variables: The environment variables.
        folder: A folder for plugin files, which is in no variable.
        url: The value of the option `--url`.
    """

    sandbox: Sandbox
    store: Store
    clock: Clock
    folder: Path
    monkeypatch: pytest.MonkeyPatch
    url: str | None = None
    servers: list[HTTPServer] = field(default_factory=list)
    variables: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        sandbox = self.sandbox
        sandbox.webhooks.hold()
        self.credits: str = sandbox.create_product(name="Credits")["id"]
        self.plan: str = sandbox.create_product(name="Monthly plan")["id"]
        self.packages: list[str] = [self.package(500, 50), self.package(2000, 220)]
        self.monthly = self.price(self.plan, unit_amount=2900, recurring={"interval": "month"})
        portal = sandbox.call(
            "POST",
            "/v1/billing_portal/configurations",
            features={
                "subscription_cancel": {"enabled": True},
                "payment_method_update": {"enabled": True},
                "invoice_history": {"enabled": True},
            },
            login_page={"enabled": True},
        )
        self.portal: str = portal["id"]
        self.endpoint = self.add_endpoint()
        self.variables = {
            "DATALAYER_STRIPE_API_KEY": sandbox.secret_key,
            "DATALAYER_STRIPE_JS_API_KEY": sandbox.publishable_key,
            "DATALAYER_STRIPE_TOPUP_PRODUCT_ID": self.credits,
            "DATALAYER_STRIPE_SUBSCRIPTION_PRODUCT_ID": self.plan,
            "DATALAYER_STRIPE_WEBHOOK_SECRET": f"whsec_rolledRolledRolledRolled00,{WEBHOOK_SECRET}",
            "DATALAYER_STRIPE_CUST_PORTAL_ID": self.portal,
            "DATALAYER_STRIPE_CUST_PORTAL_URL": portal["login_page"]["url"],
            # Not connected to: the tests have a database of their own.
            "DATALAYER_STRIPE_MONGODB_URL": "mongodb://127.0.0.1:9/?replicaSet=rs0",
            "DATALAYER_STRIPE_API_BASE": sandbox.url,
            "DATALAYER_STRIPE_REQUESTS_PER_SECOND": "10000",
            "DATALAYER_JWT_SECRET": JWT_SECRET,
        }

    def price(self, product: str, **params: Any) -> str:
        return str(self.sandbox.create_price(product=product, **params)["id"])

    def package(self, unit_amount: int, credits: int) -> str:
        return self.price(self.credits, unit_amount=unit_amount, credits=credits)

    def add_endpoint(self, url: str = URL, **changes: Any) -> str:
        params = {
            "url": url,
            "enabled_events": list(Registry.load().types),
            "api_version": STRIPE_VERSION,
            "metadata": managed_with(WEBHOOK_SECRET),
            **changes,
        }
        return str(self.sandbox.call("POST", "/v1/webhook_endpoints", **params)["id"])

    def call(self, path: str, **params: Any) -> None:
        """Change an object at Stripe."""
        self.sandbox.call("POST", path, **params)

    def replace(self, object_id: str, **fields: Any) -> None:
        """Set fields of an object that Stripe's API cannot set."""
        self.sandbox.put({**self.sandbox.get(object_id), **fields})

    def write_plugin(self, text: str) -> None:
        """Load a plugin from a file."""
        self.folder.mkdir(mode=0o700)
        (self.folder / "extra.py").write_text(text, encoding="utf-8")
        self.variables["DATALAYER_STRIPE_PLUGINS_DIR"] = str(self.folder)

    def send_thin_events_only(
        self, types: Sequence[str] | None = None, *, disables_endpoint: bool = True
    ) -> None:
        """Add a destination for thin events, and disable the endpoint."""
        events = Registry.load().types if types is None else types
        params = {
            "name": "thin events",
            "type": "webhook_endpoint",
            "event_payload": "thin",
            "enabled_events": [f"v1.{name}" for name in events],
            "webhook_endpoint": {"url": URL},
            "include": ["webhook_endpoint.signing_secret"],
        }
        made = self.sandbox.call("POST", "/v2/core/event_destinations", **params)
        self.destination: str = made["id"]
        secret = made["webhook_endpoint"]["signing_secret"]
        path = f"/v2/core/event_destinations/{self.destination}"
        self.sandbox.call("POST", path, metadata=managed_with(secret))
        self.variables["DATALAYER_STRIPE_WEBHOOK_SECRET"] += f",{secret}"
        if disables_endpoint:
            self.call(f"/v1/webhook_endpoints/{self.endpoint}", disabled=True)

    def serve_nothing(self) -> None:
        """Let a server answer 404 at the endpoint's URL."""
        self._serve(Application())

    def serve_webhook(self) -> None:
        """Let a service that knows WEBHOOK_SECRET only answer at the endpoint's URL."""
        self._serve(Application([(WEBHOOK_PATH, Webhook)]))

    def _serve(self, application: Application) -> None:
        listener, port = bind_unused_port()
        server = HTTPServer(application)
        server.add_socket(listener)
        self.servers.append(server)
        url = f"http://127.0.0.1:{port}{WEBHOOK_PATH}"
        self.call(f"/v1/webhook_endpoints/{self.endpoint}", url=url)

    async def close(self) -> None:
        for server in self.servers:
            server.stop()
            await server.close_all_connections()
        await self.store.close()

    async def fail_event(self, *, rejected: bool) -> None:
        """Store an event that a built-in plugin has failed or rejected."""
        events = self.store.events
        record = events.record_rejection if rejected else events.record_failure
        event = parse(changed(recorded("payment_intent.succeeded")))
        await record(event, "top-up-credits", "test", self.clock())

    async def examine(self) -> list[Finding]:
        """Run all checks, as the command does."""
        for name, value in self.variables.items():
            self.monkeypatch.setenv(name, value)
        attempt = try_configuration()
        async with open_context(
            attempt, url=self.url, store=self.store, clock=self.clock
        ) as context:
            return await run_checks(context)

    async def problems(self) -> list[Finding]:
        """Return the warnings and errors."""
        return [finding for finding in await self.examine() if finding.is_problem]
