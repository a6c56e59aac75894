"""Start the service and a local Stripe with packages and a plan for sale, unconfigured."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec

from ..app import DEFAULT_HOST, Server, listen, make_app
from ..auth import issue_token
from ..clock import Clock, system_clock
from ..configuration import PluginSources
from ..errors import StartError
from ..handlers.urls import ADMIN_PREFIX, WEBHOOK_PATH
from ..plugin_api.registry import Registry
from ..sandbox import Sandbox, Shopfront
from ..service import Service
from ..settings import Settings
from ..store.connect import MEMORY_URL
from ..testing.environment import Environment
from ..testing.shop import ShopSandbox
from .sign_in import OPERATOR_PATH, sign_in_handlers

ACCOUNT = "demo"
OPERATOR_ROLE = "platform_admin"
"""The role that the demo's account has, so that it may open the operator's page."""

# The secret that signs the token exists only in this process, so a long lifetime is no risk.
_TOKEN_LIFETIME = timedelta(days=30)
_SHUTDOWN_TIMEOUT = 2.0  # in seconds


@dataclass(frozen=True)
class DemoEnvironment:
    """A running demo.

    Attributes:
        service: The service.
        sandbox: The local Stripe.
        url: The address of the service, without a trailing slash.
        token: The bearer token of the demo's account, which is also an operator.
        package_prices: The price ids of the packages, cheapest first.
        plan_price: The price id of the plan.
    """

    service: Service
    sandbox: Sandbox
    url: str
    token: str
    package_prices: tuple[str, ...]
    plan_price: str

    @property
    def operator_url(self) -> str:
        """The address that signs a browser in and leads to the operator's page."""
        return f"{self.url}{OPERATOR_PATH}"

    @property
    def panel_url(self) -> str:
        """The address of the panel that controls the local Stripe."""
        return f"{self.sandbox.url}/sandbox/panel"


@asynccontextmanager
async def open_environment(
    *,
    port: int,
    sandbox_port: int,
    any_sandbox_port: bool = False,
    host: str = DEFAULT_HOST,
    registry: Registry | None = None,
    mongodb_url: str = "memory://",
    clock: Clock = system_clock,
) -> AsyncIterator[DemoEnvironment]:
    """Start the service and the local Stripe, and stop them at the end.

    Args:
        port: The port of the service. 0 means any free port.
        sandbox_port: The port of the local Stripe. 0 means any free port.
        any_sandbox_port: Whether to use any free port if `sandbox_port` is taken or equals `port`.
        host: The address that both listen on. Their URLs have 127.0.0.1 even so: in a container,
            whose ports are published there, they listen on all addresses.
        registry: The plugins to use instead of the installed ones.
        mongodb_url: The URL of the database.
        clock: The clock of the service. The local Stripe has its own.

    Raises:
        StartError: A port is taken, the extra `demo` is not installed, or a plugin cannot start.
        SettingsError: An environment variable of a plugin is invalid.
    """
    if mongodb_url.startswith(MEMORY_URL) and find_spec("mongomock_motor") is None:
        raise StartError('The demo needs more packages. Run: pip install "datalayer-stripe[demo]"')
    if registry is None:
        registry = PluginSources.from_environment().load()
    async with AsyncExitStack() as stack:
        # The local Stripe has its own clock: its panel moves it.
        environment = Environment(mongodb_url, clock=clock, sandbox=ShopSandbox())
        sandbox = environment.sandbox
        if any_sandbox_port and sandbox_port == port:
            sandbox_port = 0
        await _start_sandbox(sandbox, sandbox_port, host, or_any=any_sandbox_port)
        stack.push_async_callback(sandbox.stop)

        settings = _settings(environment)
        service = await environment.open_service(settings, registry=registry)
        stack.push_async_callback(service.close)
        await service.start()
        token = issue_token(
            settings,
            ACCOUNT,
            lifetime=_TOKEN_LIFETIME,
            handle=ACCOUNT,
            email="demo@example.com",
            roles=[OPERATOR_ROLE],
            clock=clock,
        )
        app = make_app(service)
        app.add_handlers(
            *sign_in_handlers(token, checkout=settings.checkout_path or "/", operator=ADMIN_PREFIX)
        )
        server = Server(app, listen(host, port))
        stack.push_async_callback(server.stop, seconds=_SHUTDOWN_TIMEOUT)

        url = f"http://{DEFAULT_HOST}:{server.port}"
        sandbox.create_webhook_endpoint(
            url + WEBHOOK_PATH,
            [secret.get_secret_value() for secret in settings.stripe_webhook_secrets],
            enabled_events=service.registry.types,
        )
        sandbox.shop = Shopfront("Checkout page", f"{url}/", _balance_of(service))
        yield DemoEnvironment(
            service=service,
            sandbox=sandbox,
            url=url,
            token=token,
            package_prices=tuple(sandbox.packages.values()),
            plan_price=sandbox.plan,
        )


async def _start_sandbox(sandbox: Sandbox, port: int, host: str, *, or_any: bool) -> None:
    """Start the local Stripe on this port. With `or_any`, use any free port if it is taken."""
    try:
        await sandbox.start(port, host)
    except OSError as error:
        if not or_any:
            raise StartError(
                f"Cannot listen on {host}:{port}: {error.strerror}. Choose another --sandbox-port."
            ) from None
        await sandbox.start(0, host)


def _balance_of(service: Service) -> Callable[[], Awaitable[dict[str, str]]]:
    """Return the function that the panel calls to show the balance of the demo's account."""

    async def balance() -> dict[str, str]:
        credits = (await service.store.accounts.get(ACCOUNT)).credits
        return {"Balance": f"{credits:,} credit{'' if credits == 1 else 's'}"}

    return balance


def _settings(environment: Environment) -> Settings:
    """Return the settings of a service that uses the sandbox's billing portal and Stripe.js."""
    sandbox = environment.sandbox
    portal = sandbox.call(
        "POST",
        "/v1/billing_portal/configurations",
        features={
            "invoice_history": {"enabled": True},
            "payment_method_update": {"enabled": True},
            "subscription_cancel": {"enabled": True, "mode": "at_period_end"},
        },
    )
    return environment.settings(
        stripe_cust_portal_id=portal["id"],
        stripe_cust_portal_url=f"{sandbox.url}/sandbox/portal",
        stripe_js_url=f"{sandbox.url}/sandbox/stripe.js",
        stripe_admin_role=OPERATOR_ROLE,
    )
