"""Jupyter Server extension: traits, routes, and the service's start and stop."""

import logging
from functools import cached_property

from jupyter_server.extension.application import ExtensionApp
from jupyter_server.serverapp import ServerApp
from traitlets import Any, default

from .._version import __version__
from ..configuration import Configuration
from ..documents import DOCUMENTS
from ..errors import NotConfigured, PluginError, SettingsError
from ..handlers.app_state import AppState
from ..handlers.openapi.document import openapi_json, routes_of
from ..logs import MessageFormatter
from ..metrics import Metrics
from ..settings import Settings, variable
from .lab import set_checkout_url
from .landing import add_checkout_link
from .lifecycle import BackgroundService
from .routes import jupyter_handlers
from .settings import configuration_from_traits
from .users import has_stable_usernames, usernames_may_match_tokens

DOCUMENT = f"{DOCUMENTS}/jupyter.md"


class DatalayerStripe(ExtensionApp):
    """Sell credits from a Jupyter Server.

    Each setting is a trait, or an environment variable. The trait overrides the variable.
    """

    name = "datalayer-stripe"
    version = __version__
    description = f"A Jupyter Server with the checkout page of datalayer-stripe: {DOCUMENT}"

    # The traits accept any value, and None leaves the setting to the environment. `Settings`
    # validates all values together and reports every problem without showing secrets. A typed
    # trait would log the value that it rejects, and Jupyter would ignore the traits after it.

    stripe_api_key = Any(
        help="Secret key of Stripe, sk_… or rk_…. Environment: DATALAYER_STRIPE_API_KEY."
    ).tag(config=True)
    stripe_js_api_key = Any(
        help="Publishable key of Stripe, pk_…. Environment: DATALAYER_STRIPE_JS_API_KEY."
    ).tag(config=True)
    stripe_topup_product_id = Any(
        help="Id of the Stripe product whose one-time prices are the credit packages. "
        "Environment: DATALAYER_STRIPE_TOPUP_PRODUCT_ID."
    ).tag(config=True)
    stripe_subscription_product_id = Any(
        help="Id of the Stripe product of the monthly plan, or a list of ids. "
        "Environment: DATALAYER_STRIPE_SUBSCRIPTION_PRODUCT_ID."
    ).tag(config=True)
    stripe_webhook_secret = Any(
        help="Signing secret of the webhook endpoint, whsec_…, or a list of secrets. "
        "Environment: DATALAYER_STRIPE_WEBHOOK_SECRET."
    ).tag(config=True)
    stripe_checkout_route = Any(
        help="Path of the checkout page below the base_url, such as checkout, or the http(s) URL "
        "of a page that another site serves. Environment: DATALAYER_STRIPE_CHECKOUT_ROUTE."
    ).tag(config=True)
    stripe_cust_portal_id = Any(
        help="Id of the billing portal's configuration, bpc_…. "
        "Environment: DATALAYER_STRIPE_CUST_PORTAL_ID."
    ).tag(config=True)
    stripe_cust_portal_url = Any(
        help="Public link of the billing portal, an https URL. "
        "Environment: DATALAYER_STRIPE_CUST_PORTAL_URL."
    ).tag(config=True)
    stripe_mongodb_url = Any(
        help="URL of the MongoDB replica set, or memory:// for a trial that forgets everything "
        "when the server stops. Environment: DATALAYER_STRIPE_MONGODB_URL."
    ).tag(config=True)
    stripe_mongodb_driver = Any(
        help="Driver for MongoDB: motor or pymongo. Environment: DATALAYER_STRIPE_MONGODB_DRIVER."
    ).tag(config=True)
    stripe_negative_balance = Any(
        help="What a refund does if the credits are spent already: allow a negative balance, or "
        "keep a debt. Environment: DATALAYER_STRIPE_NEGATIVE_BALANCE."
    ).tag(config=True)
    stripe_topup_during_dispute = Any(
        help="Whether an account with a disputed payment may buy credits: allow or refuse. "
        "Environment: DATALAYER_STRIPE_TOPUP_DURING_DISPUTE."
    ).tag(config=True)
    stripe_reconcile_interval = Any(
        help="Seconds between two reconciliations with Stripe, at least 60; 0 turns them off. "
        "Environment: DATALAYER_STRIPE_RECONCILE_INTERVAL."
    ).tag(config=True)
    stripe_requests_per_second = Any(
        help="Requests per second that Stripe allows to one endpoint, by default 25. "
        "Environment: DATALAYER_STRIPE_REQUESTS_PER_SECOND."
    ).tag(config=True)
    stripe_max_deliveries = Any(
        help="Deliveries that may run plugins at the same time, by default 1024. "
        "Environment: DATALAYER_STRIPE_MAX_DELIVERIES."
    ).tag(config=True)
    stripe_max_body_memory = Any(
        help="MB of request bodies in memory, by default 64. "
        "Environment: DATALAYER_STRIPE_MAX_BODY_MEMORY."
    ).tag(config=True)
    stripe_max_streams = Any(
        help="Open streams of the server, by default 4096. "
        "Environment: DATALAYER_STRIPE_MAX_STREAMS."
    ).tag(config=True)
    stripe_max_streams_per_account = Any(
        help="Open streams of one account, by default 16. "
        "Environment: DATALAYER_STRIPE_MAX_STREAMS_PER_ACCOUNT."
    ).tag(config=True)
    stripe_account_burst = Any(
        help="Requests that reach Stripe and that an account may send at once, by default 20. "
        "Environment: DATALAYER_STRIPE_ACCOUNT_BURST."
    ).tag(config=True)
    stripe_account_interval = Any(
        help="Seconds between two such requests after the burst, by default 3. "
        "Environment: DATALAYER_STRIPE_ACCOUNT_INTERVAL."
    ).tag(config=True)
    stripe_max_tracked_accounts = Any(
        help="Accounts whose requests are counted, by default 10000. "
        "Environment: DATALAYER_STRIPE_MAX_TRACKED_ACCOUNTS."
    ).tag(config=True)
    stripe_metrics_address = Any(
        help="Address of the metrics of `datalayer-stripe serve`. A Jupyter Server ignores it: "
        "its users read the metrics below the base_url. "
        "Environment: DATALAYER_STRIPE_METRICS_ADDRESS."
    ).tag(config=True)
    stripe_secrets_dir = Any(
        help="Folder with one file for each variable. Environment: DATALAYER_STRIPE_SECRETS_DIR."
    ).tag(config=True)
    stripe_plugins_dir = Any(
        help="Folder of additional plugin files. Environment: DATALAYER_STRIPE_PLUGINS_DIR."
    ).tag(config=True)
    stripe_plugins_disabled = Any(
        help="Names of the plugins to disable, as a list or separated by commas. "
        "Environment: DATALAYER_STRIPE_PLUGINS_DISABLED."
    ).tag(config=True)
    stripe_api_base = Any(
        help="Base URL of Stripe's API, for tests with another server. "
        "Environment: DATALAYER_STRIPE_API_BASE."
    ).tag(config=True)
    stripe_js_url = Any(
        help="URL of Stripe.js, for tests with another server. "
        "Environment: DATALAYER_STRIPE_JS_URL."
    ).tag(config=True)
    stripe_sign_in_url = Any(
        help="URL or path of the page where people sign in, instead of Jupyter's login. "
        "Environment: DATALAYER_STRIPE_SIGN_IN_URL."
    ).tag(config=True)
    stripe_jupyter_username_prefix = Any(
        help="Text before a Jupyter username in the account's uid, such as jupyter:. "
        "Environment: DATALAYER_STRIPE_JUPYTER_USERNAME_PREFIX."
    ).tag(config=True)
    stripe_admin_role = Any(
        help="Role of the Datalayer tokens that may call the operator's routes, such as "
        "platform_admin. Environment: DATALAYER_STRIPE_ADMIN_ROLE."
    ).tag(config=True)
    jwt_algorithm = Any(
        help="Algorithm of Datalayer's tokens: HS256, HS384 or HS512. "
        "Environment: DATALAYER_JWT_ALGORITHM."
    ).tag(config=True)
    jwt_secret = Any(
        help="Secret that signs Datalayer's tokens. Without it, only Jupyter authenticates "
        "callers. Environment: DATALAYER_JWT_SECRET."
    ).tag(config=True)
    jwt_issuer = Any(
        help="The iss claim of the Datalayer tokens to accept. Environment: DATALAYER_JWT_ISSUER."
    ).tag(config=True)
    jwt_allowed_issuers = Any(
        help="The iss claims of Datalayer tokens to accept, as a list or separated by commas. "
        "Environment: DATALAYER_JWT_ALLOWED_ISSUERS."
    ).tag(config=True)
    stripe_trusted_proxies = Any(
        help="IP addresses and networks of proxies whose X-Forwarded-For tells the log the address "
        "of the client, as a list or separated by commas. "
        "Environment: DATALAYER_STRIPE_TRUSTED_PROXIES."
    ).tag(config=True)
    cors_origin = Any(
        help="Origins to which the billing portal may link back, as a list or separated by "
        "commas; * allows all. ServerApp.allow_origin decides which origins may call. "
        "Environment: DATALAYER_CORS_ORIGIN."
    ).tag(config=True)

    @default("default_url")
    def _default_url(self) -> str:
        return self.checkout_path or "/"

    @cached_property
    def configuration(self) -> Configuration | SettingsError | PluginError:
        """The configuration, or the error that says what is wrong with it."""
        try:
            return configuration_from_traits(self)
        except (SettingsError, PluginError) as error:
            return error

    @property
    def checkout_path(self) -> str | None:
        """The path of the checkout page below the base_url; None if another site serves it."""
        if not isinstance(self.configuration, Configuration):
            return f"/{Settings.model_fields['stripe_checkout_route'].default}"
        return self.configuration.settings.checkout_path

    @property
    def admin_role(self) -> str | None:
        """The role of operators; None if there are no routes for them."""
        if not isinstance(self.configuration, Configuration):
            return None
        return self.configuration.settings.stripe_admin_role

    def checkout_url(self, base_url: str) -> str:
        """Return the path of the checkout page with the base URL, or its URL on another site.

        Args:
            base_url: The base URL of the server, such as `/user/ada/`.
        """
        path = self.checkout_path
        if path is None and isinstance(self.configuration, Configuration):
            return self.configuration.settings.stripe_checkout_route
        return f"{base_url.rstrip('/')}{path}"

    def initialize_settings(self) -> None:
        """Create the state of the handlers, and send the package's log to Jupyter's log."""
        package_logger = logging.getLogger("datalayer_stripe")
        package_logger.addHandler(_JupyterLogHandler(self.log))
        package_logger.setLevel(self.log.getEffectiveLevel())
        package_logger.propagate = False
        base_url = self.settings["base_url"]
        set_checkout_url(self.settings, self.checkout_url(base_url))
        self.app_state = AppState(Metrics(), base_url=base_url, identity_kind="cookie")
        self.settings["datalayer_stripe"] = self.app_state
        if not isinstance(self.configuration, Configuration):
            self.app_state.set_unavailable(NotConfigured)
            self.log.warning(
                "Credits cannot be bought on this server; everything else works: %s. See %s",
                _one_line(self.configuration),
                DOCUMENT,
            )
        elif path := self.checkout_path:
            add_checkout_link(self.settings["jinja2_env"], base_url.rstrip("/") + path)

    def initialize_handlers(self) -> None:
        """Add the routes to the server."""
        routes = jupyter_handlers(self.checkout_path, self.admin_role)
        self.app_state.label_routes(routes)
        self.app_state.openapi = openapi_json(
            routes_of(routes), base_path=self.app_state.base_path, in_jupyter=True
        )
        self.handlers.extend(routes)

    async def _start_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        if not isinstance(self.configuration, Configuration):
            return
        if not has_stable_usernames(serverapp.identity_provider):
            self.log.warning(
                "Jupyter generates a user name for each browser. Credits bought under it are lost "
                "when the browser deletes its cookie. %s#who-calls shows how to set a fixed name.",
                DOCUMENT,
            )
        if usernames_may_match_tokens(self.configuration.settings):
            self.log.warning(
                "A Jupyter username and the subject of a Datalayer token can name the same "
                "account. A user who can choose the username of another account gets access to "
                "it. Unless no user can choose a username, set %s, for example to jupyter:",
                variable("stripe_jupyter_username_prefix"),
            )
        self._background_service = BackgroundService(self.app_state, self.configuration)
        self._background_service.start()

    async def stop_extension(self) -> None:
        """Close the service. Jupyter also calls this if the extension was never started."""
        if background_service := getattr(self, "_background_service", None):
            await background_service.stop()


def _one_line(error: SettingsError | PluginError) -> str:
    if isinstance(error, SettingsError):
        return "; ".join(f"{fault.variable} {fault.problem}" for fault in error.faults)
    return str(error).rstrip(".")


class _JupyterLogHandler(logging.Handler):
    """Log handler that writes records of this package to Jupyter's log, with secrets redacted."""

    def __init__(self, log: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> None:
        super().__init__()
        self.setFormatter(MessageFormatter())
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        self._log.log(record.levelno, "%s", self.format(record))
