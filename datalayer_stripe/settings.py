"""The settings of the service: environment variables, read once at the start and passed down.

All of them are checked together: a wrong configuration raises one :class:`SettingsError` with a
:class:`Fault` for each problem. No error, log line or `repr` contains a secret.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from .errors import Fault, SettingsError
from .secret_files import Environment, with_secret_files
from .settings_checks import (
    STRIPE_JS_URL,
    Network,
    check_address,
    check_api_base,
    check_folder,
    check_http_url,
    check_interval,
    check_jwt_secret,
    check_mongodb_url,
    check_number_of_secrets,
    check_origins,
    check_portal_url,
    check_route,
    check_sign_in_url,
    host_and_port,
    is_live,
    networks,
    prefix_check,
    refuse_secret,
    revealed,
    unquoted,
)
from .settings_fields import cleaned, faults_in, guessable_faults, setting, variable_of

DriverName = Literal["motor", "pymongo"]

DEFAULT_JWT_ISSUER = "https://id.datalayer.run"

_KEYS_PAGE = "in Stripe's dashboard, Developers → API keys, https://dashboard.stripe.com/apikeys"
_PRODUCTS_PAGE = "in Stripe's dashboard, Product catalog, https://dashboard.stripe.com/products"
_WEBHOOKS_PAGE = (
    "in Stripe's dashboard, Developers → Webhooks, https://dashboard.stripe.com/webhooks"
)
_PORTAL_PAGE = (
    "in Stripe's dashboard, Settings → Billing → Customer portal, "
    "https://dashboard.stripe.com/settings/billing/portal"
)


class Settings(BaseSettings):
    """All settings. Built by :meth:`from_environment`, or from keyword arguments only.

    Keyword arguments are the names of the fields below. Values may be strings as in the
    environment: blanks and quotes around them are removed, and lists are separated by commas.

    Raises:
        SettingsError: A setting is missing or not valid. The error has all faults.
    """

    model_config = SettingsConfigDict(
        frozen=True, populate_by_name=True, validate_default=True, enable_decoding=False
    )

    stripe_api_key: Annotated[
        SecretStr, AfterValidator(prefix_check("sk_test_", "sk_live_", "rk_test_", "rk_live_"))
    ] = setting(
        "DATALAYER_STRIPE_API_KEY",
        section="Stripe",
        doc="Secret key `sk_…`, or a restricted one `rk_…`. It decides the mode, test or live.",
        remedy=f"Find it {_KEYS_PAGE} → Secret key.",
        example="sk_test_example",
        refuse_placeholder=True,
    )
    stripe_js_api_key: Annotated[str, AfterValidator(prefix_check("pk_test_", "pk_live_"))] = (
        setting(
            "DATALAYER_STRIPE_JS_API_KEY",
            section="Stripe",
            doc="Publishable key `pk_…` of the same mode. Browsers receive it.",
            remedy=f"Find it {_KEYS_PAGE} → Publishable key.",
            example="pk_test_example",
            refuse_placeholder=True,
        )
    )
    stripe_topup_product_id: Annotated[str, AfterValidator(prefix_check("prod_", ""))] = setting(
        "DATALAYER_STRIPE_TOPUP_PRODUCT_ID",
        section="Stripe",
        doc="Product `prod_…` whose one-time prices are the packages of credits.",
        remedy=f"Find it {_PRODUCTS_PAGE} → the product whose prices are the credit packages.",
        example="prod_example_topup",
        refuse_placeholder=True,
    )
    stripe_subscription_product_ids: Annotated[
        tuple[str, ...], AfterValidator(prefix_check("prod_", ""))
    ] = setting(
        "DATALAYER_STRIPE_SUBSCRIPTION_PRODUCT_ID",
        section="Stripe",
        doc="Products `prod_…` of the monthly plans, one or several. An active subscription to "
        "any of them lets an account buy credits.",
        remedy=f"Find it {_PRODUCTS_PAGE} → the product of the monthly plan; separate several "
        "with commas.",
        example="prod_example_plan",
        refuse_placeholder=True,
    )
    stripe_webhook_secrets: Annotated[
        tuple[SecretStr, ...],
        AfterValidator(prefix_check("whsec_")),
        AfterValidator(check_number_of_secrets),
    ] = setting(
        "DATALAYER_STRIPE_WEBHOOK_SECRET",
        section="Stripe",
        doc="Signing secrets `whsec_…` of the webhook endpoint, one or up to 16. Any of them is "
        "accepted, so that [one can be rolled](operations.md#roll-the-webhook-secret).",
        remedy=f"Find it {_WEBHOOKS_PAGE} → the endpoint → Signing secret; separate several with "
        "commas.",
        example="whsec_example",
        refuse_placeholder=True,
    )
    stripe_cust_portal_id: Annotated[str, AfterValidator(prefix_check("bpc_"))] = setting(
        "DATALAYER_STRIPE_CUST_PORTAL_ID",
        section="Stripe",
        doc="Configuration `bpc_…` of the customer portal.",
        remedy=f"Create it {_PORTAL_PAGE}; `stripe billing_portal configurations list` shows its "
        "id.",
        example="bpc_example",
        refuse_placeholder=True,
    )
    stripe_cust_portal_url: Annotated[str, AfterValidator(check_portal_url)] = setting(
        "DATALAYER_STRIPE_CUST_PORTAL_URL",
        section="Stripe",
        doc="The portal's public link, given to accounts that have no customer yet. https, or "
        "http on this machine.",
        remedy=f"Find it {_PORTAL_PAGE} → the public link.",
        example="https://billing.stripe.com/p/login/test_example",
        refuse_placeholder=True,
    )
    stripe_checkout_route: Annotated[str, AfterValidator(check_route)] = setting(
        "DATALAYER_STRIPE_CHECKOUT_ROUTE",
        section="Stripe",
        doc="The path of the [checkout page](checkout.md) on this service, or the http(s) URL of "
        "a page elsewhere. With a URL this service serves no page. Clients receive it as "
        "`portal.route`.",
        remedy="Set a path of the web UI such as checkout, or an http(s) URL.",
        default="checkout",
    )
    stripe_sign_in_url: Annotated[str | None, AfterValidator(check_sign_in_url)] = setting(
        "DATALAYER_STRIPE_SIGN_IN_URL",
        section="Stripe",
        doc="Where people sign in, an http(s) URL or a path. The checkout page sends people "
        "without a token there.",
        remedy="Set an http(s) URL, or a path that begins with /, where people sign in.",
        default=None,
    )
    stripe_jupyter_username_prefix: str = setting(
        "DATALAYER_STRIPE_JUPYTER_USERNAME_PREFIX",
        section="Stripe",
        doc="In a Jupyter Server: the text before a username that makes the account's uid, such "
        "as `jupyter:`. With it, no user can choose the uid of an account that Datalayer's "
        "tokens name. See [Who calls](jupyter.md#who-calls).",
        remedy="Set up to 32 printable ASCII characters without spaces, such as jupyter:",
        default="",
        pattern=r"^[!-~]{0,32}$",
    )
    stripe_negative_balance: Literal["allow", "debt"] = setting(
        "DATALAYER_STRIPE_NEGATIVE_BALANCE",
        section="Stripe",
        doc="What happens if more credits are taken back than are left: `allow` makes the balance "
        "negative, `debt` keeps it at zero and lets the next credits pay "
        "[the debt](operations.md#refunds-and-disputes).",
        remedy="Set allow, or debt: then a refund leaves a debt that the next credits pay.",
        default="allow",
    )
    stripe_topup_during_dispute: Literal["allow", "refuse"] = setting(
        "DATALAYER_STRIPE_TOPUP_DURING_DISPUTE",
        section="Stripe",
        doc="Whether an account may buy credits while one of its payments is disputed: `allow`, "
        "or `refuse` with 409 `conflict`.",
        remedy="Set allow, or refuse: then an account whose payment is disputed cannot buy.",
        default="allow",
    )
    stripe_api_base: Annotated[str | None, AfterValidator(check_api_base)] = setting(
        "DATALAYER_STRIPE_API_BASE",
        section="Stripe",
        doc="Another address for Stripe's API, for tests. With a live key it must be https.",
        remedy="Unset it to use Stripe's own; it is for tests.",
        default=None,
    )
    stripe_js_url: Annotated[str, AfterValidator(check_http_url)] = setting(
        "DATALAYER_STRIPE_JS_URL",
        section="Stripe",
        doc="Another address for Stripe.js, for tests. With a live key it must be Stripe's own.",
        remedy="Unset it to use Stripe's own; it is for tests.",
        default=STRIPE_JS_URL,
        example="",  # a copy must not keep the URL of this version
    )
    # Above jwt_secret, whose minimum length depends on it.
    jwt_algorithm: Literal["HS256", "HS384", "HS512"] = setting(
        "DATALAYER_JWT_ALGORITHM",
        section="Bearer tokens",
        doc="`HS256`, `HS384` or `HS512`. Tokens of any other algorithm are refused.",
        remedy="Set the algorithm of the service that issues the tokens.",
        default="HS256",
    )
    # None is possible in JupyterSettings only: there is no default here.
    jwt_secret: SecretStr | None = setting(
        "DATALAYER_JWT_SECRET",
        section="Bearer tokens",
        doc="The secret that the tokens are signed with: at least 32 bytes for HS256, 48 for "
        "HS384, 64 for HS512. In a Jupyter Server it is "
        "optional: [Jupyter then authenticates callers](jupyter.md#who-calls).",
        remedy="Set the secret of the service that issues the tokens, or create one: openssl "
        "rand -hex 32",
        example="example-only-put-the-output-of-openssl-rand-here",
        refuse_placeholder=True,
    )
    jwt_issuer: str = setting(
        "DATALAYER_JWT_ISSUER",
        section="Bearer tokens",
        doc="An `iss` claim to accept.",
        remedy="Set the `iss` claim of the tokens to accept.",
        default=DEFAULT_JWT_ISSUER,
    )
    jwt_allowed_issuers: tuple[str, ...] = setting(
        "DATALAYER_JWT_ALLOWED_ISSUERS",
        section="Bearer tokens",
        doc="Further `iss` claims to accept. If only this variable is set, the default of "
        "`DATALAYER_JWT_ISSUER` is not accepted.",
        remedy="Set the `iss` claims of the tokens to accept; separate several with commas.",
        default=(),
    )
    stripe_mongodb_url: Annotated[SecretStr, AfterValidator(check_mongodb_url)] = setting(
        "DATALAYER_STRIPE_MONGODB_URL",
        section="Service",
        doc="A MongoDB replica set, of which one node is enough: `mongodb://…?replicaSet=rs0` or "
        "`mongodb+srv://…`. The database is the URL's path, or `datalayer_stripe`. `memory://` "
        "forgets everything at exit, and is refused with a live key.",
        remedy="Set the mongodb:// or mongodb+srv:// URL of a replica set, or memory:// to try "
        "the service.",
        default="memory://",
        refuse_placeholder=True,
    )
    stripe_mongodb_driver: DriverName = setting(
        "DATALAYER_STRIPE_MONGODB_DRIVER",
        section="Service",
        doc="The driver for MongoDB: `motor`, or `pymongo` for PyMongo's asyncio client. See "
        "[which one to take](operations.md#mongodb). `memory://` has its own.",
        remedy="Set motor, or pymongo for PyMongo's asyncio client.",
        default="motor",
    )
    stripe_reconcile_interval: Annotated[int, AfterValidator(check_interval)] = setting(
        "DATALAYER_STRIPE_RECONCILE_INTERVAL",
        section="Service",
        doc="Seconds from one reconciliation of `serve` to the next, by one process at a time: at "
        "least 60, or 0 for never. See [operations](operations.md#reconcile).",
        remedy="Set the seconds from one reconciliation with Stripe to the next: at least 60, or "
        "0 for never.",
        default=3600,
        ge=0,
    )
    stripe_requests_per_second: int = setting(
        "DATALAYER_STRIPE_REQUESTS_PER_SECOND",
        section="Service",
        doc="The requests per second that Stripe allows to one endpoint. All endpoints together "
        "are allowed as many in test mode, and four times as many in live mode. The service's own "
        "calls, such as refreshes after events, use four fifths of it, over all processes. Lower "
        "it if other systems use the same Stripe account. See "
        "[operations](operations.md#stripes-rate-limits).",
        remedy="Set the requests per second that Stripe allows to one endpoint, between 1 and "
        "10000.",
        default=25,
        ge=1,
        le=10_000,
    )
    stripe_max_deliveries: int = setting(
        "DATALAYER_STRIPE_MAX_DELIVERIES",
        section="Service",
        doc="The deliveries that may run plugins at the same time, in each process: this number of "
        "those that move money, and the same number of others. More are refused with 503, and "
        "Stripe delivers them again. See [under load](reliability.md#under-load).",
        remedy="Set the deliveries that may run at the same time, between 16 and 65536.",
        default=1024,
        ge=16,
        le=65_536,
    )
    stripe_max_body_memory: int = setting(
        "DATALAYER_STRIPE_MAX_BODY_MEMORY",
        section="Service",
        doc="The memory for the bodies of requests, in MB of 1,048,576 bytes, over all connections "
        "of a process. Above it the answer is 503 `overloaded`, and bodies that arrive slowly are "
        "refused first.",
        remedy="Set the MB of request bodies in memory, between 16 and 16384.",
        default=64,
        ge=16,
        le=16_384,
    )
    stripe_max_streams: int = setting(
        "DATALAYER_STRIPE_MAX_STREAMS",
        section="Service",
        doc="The [streams](http-api.md#stripe-routes-under-apiiamstripev1) that a process keeps "
        "open. Each open checkout page has one, which is a connection and so an open file. Above "
        "it the answer is 429.",
        remedy="Set the open streams of a process, between 16 and 65536.",
        default=4096,
        ge=16,
        le=65_536,
    )
    stripe_max_streams_per_account: int = setting(
        "DATALAYER_STRIPE_MAX_STREAMS_PER_ACCOUNT",
        section="Service",
        doc="Of these, the streams of one account. A browser opens one for each visible tab.",
        remedy="Set the open streams of one account, between 1 and 1024.",
        default=16,
        ge=1,
        le=1024,
    )
    stripe_account_burst: int = setting(
        "DATALAYER_STRIPE_ACCOUNT_BURST",
        section="Service",
        doc="The requests that [reach Stripe](http-api.md#how-often) and that an account may send "
        "at once, in each process.",
        remedy="Set the requests that an account may send at once, between 1 and 10000.",
        default=20,
        ge=1,
        le=10_000,
    )
    stripe_account_interval: int = setting(
        "DATALAYER_STRIPE_ACCOUNT_INTERVAL",
        section="Service",
        doc="The seconds between two such requests of an account after the burst.",
        remedy="Set the seconds between two requests of an account, between 1 and 3600.",
        default=3,
        ge=1,
        le=3600,
    )
    stripe_max_tracked_accounts: int = setting(
        "DATALAYER_STRIPE_MAX_TRACKED_ACCOUNTS",
        section="Service",
        doc="The accounts whose requests a process counts. Above it, those that were inactive the "
        "longest are forgotten, and have their whole burst again.",
        remedy="Set the accounts whose requests are counted, between 100 and 1000000.",
        default=10_000,
        ge=100,
        le=1_000_000,
    )
    stripe_metrics_address: Annotated[str | None, AfterValidator(check_address)] = setting(
        "DATALAYER_STRIPE_METRICS_ADDRESS",
        section="Service",
        doc="The address for operators, `host:port`. `serve` then answers `/metrics` there and no "
        "longer on its public port, and `/healthz` and `/readyz` on both. Not in a Jupyter "
        "Server. See [operations](operations.md#the-operators-address).",
        remedy="Set host:port, such as 127.0.0.1:9464, or unset it: then the public port answers "
        "the metrics.",
        default=None,
    )
    stripe_secrets_dir: Annotated[Path | None, AfterValidator(check_folder)] = setting(
        "DATALAYER_STRIPE_SECRETS_DIR",
        section="Service",
        doc="A folder with [secrets as files](#secrets-as-files), such as `/run/secrets`.",
        remedy="Set the path of a folder with files that are named after variables, or unset it.",
        default=None,
    )
    stripe_plugins_dir: Annotated[Path | None, AfterValidator(check_folder)] = setting(
        "DATALAYER_STRIPE_PLUGINS_DIR",
        section="Service",
        doc="A folder of [plugin files](plugins.md#where-plugins-come-from): each `*.py` in it "
        "that does not begin with an underscore is loaded. A folder that every user of the "
        "machine can write is refused.",
        remedy="Set the path of a folder of plugin files, or unset it.",
        default=None,
    )
    stripe_plugins_disabled: tuple[str, ...] = setting(
        "DATALAYER_STRIPE_PLUGINS_DISABLED",
        section="Service",
        doc="The names of plugins to disable, also built-in ones. "
        "`datalayer-stripe plugins list` shows all names.",
        remedy="Set the names of the plugins to disable; separate several with commas.",
        default=(),
    )
    stripe_admin_role: str | None = setting(
        "DATALAYER_STRIPE_ADMIN_ROLE",
        section="Service",
        doc="The role that a bearer token must have, in its claim `user.roles`, to call the "
        "[operator's routes](http-api.md#operators-routes-under-apiiamstripev1admin). Datalayer's "
        "administrators have `platform_admin`. Without this setting these routes do not exist.",
        remedy="Set the role of your operators, such as platform_admin: up to 128 printable ASCII "
        "characters without spaces.",
        default=None,
        example="",  # a copy must not turn it on
        pattern=r"^[!-~]{1,128}$",
    )
    trusted_proxies: Annotated[tuple[Network, ...], BeforeValidator(networks)] = setting(
        "DATALAYER_STRIPE_TRUSTED_PROXIES",
        section="Service",
        doc="The IP addresses and networks of the proxies in front of the service, such as "
        "`127.0.0.1` or `10.0.0.0/8`. The log takes the client's address from the "
        "`X-Forwarded-For` of these proxies only. By default the header is ignored. See "
        "[behind a proxy](deployment.md#behind-a-proxy).",
        remedy="Set IP addresses or networks such as 10.0.0.0/8; separate several with commas.",
        default=(),
    )
    cors_origins: Annotated[tuple[str, ...], AfterValidator(check_origins)] = setting(
        "DATALAYER_CORS_ORIGIN",
        section="Service",
        doc="The origins of web UIs, `scheme://host[:port]`. Name the origin of Datalayer's UI if "
        "it is not the service's own: its requests have credentials, which browsers allow for "
        "named origins only. `*` is for clients that send only a bearer token. In a Jupyter "
        "Server [`ServerApp.allow_origin`](jupyter.md#what-is-protected-and-how) decides "
        "instead. If it is not `*`, the `return_url` of the billing portal must have one of "
        "these origins, so name the origin of the checkout page, too.",
        remedy="Set * or origins such as https://app.example.com; separate several with commas.",
        default=("*",),
    )

    def __init__(self, **values: Any) -> None:
        """Validate the values; see the class."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            details = error.errors(include_input=False, include_url=False)
        else:
            return
        # Not inside the except block: pydantic's error has the values, and neither a traceback
        # nor an error reporter may reach it through __context__.
        raise SettingsError(faults_in(type(self), details))

    @classmethod
    def from_environment(cls, **overrides: Any) -> Self:
        """Read the environment variables of the process, and the files of its secrets.

        The example values of the documents are refused. Settings that are built from keyword
        arguments only, as by the demo, may have one: such a service is reachable from this machine
        only.

        Args:
            overrides: Values that replace those of the environment.

        Raises:
            SettingsError: A setting is missing or not valid. The error has all faults.
        """
        environment = read_environment(folder=overrides.get(variable("stripe_secrets_dir")))
        variables = map(variable_of, cls.model_fields.values())
        found = {name: environment.values[name] for name in variables if name in environment.values}
        values = cleaned(cls, {**found, **overrides})
        faults: list[Fault] = []
        try:
            settings = cls(**values)
        except SettingsError as error:
            faults = error.faults
        known = {fault.variable for fault in faults}
        faults += [one for one in guessable_faults(cls, values) if one.variable not in known]
        faults = [*environment.faults, *environment.located(faults)]
        if faults:
            raise SettingsError(faults)
        return settings

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use keyword arguments only, so that the demo and the tests do not depend on the shell."""
        return (init_settings,)

    @property
    def livemode(self) -> bool:
        """Whether the keys are for live mode; the `livemode` of each event must be the same."""
        return is_live(self.stripe_api_key.get_secret_value())

    @property
    def checkout_path(self) -> str | None:
        """The path of the checkout page, such as `/checkout`; None if it is on another site."""
        route = self.stripe_checkout_route
        return None if "://" in route else f"/{route.strip('/')}"

    @property
    def operations_address(self) -> tuple[str, int] | None:
        """Host and port of the operators' own address; None if they use the public port."""
        address = self.stripe_metrics_address
        return None if address is None else host_and_port(address)

    @property
    def accepted_issuers(self) -> frozenset[str]:
        """The `iss` claims to accept: those of both settings, or the default if none is set."""
        allowed = frozenset(self.jwt_allowed_issuers)
        if allowed and "jwt_issuer" not in self.model_fields_set:
            return allowed
        return allowed | {self.jwt_issuer}

    @model_validator(mode="before")
    @classmethod
    def _clean(cls, values: dict[str, Any]) -> dict[str, Any]:
        return cleaned(cls, values)

    @field_validator("*")
    @classmethod
    def _refuse_secret(cls, value: Any) -> Any:
        return refuse_secret(value)

    @field_validator("stripe_js_api_key")
    @classmethod
    def _check_same_mode(cls, value: str, info: ValidationInfo) -> str:
        secret_key = info.data.get("stripe_api_key")
        if secret_key and is_live(value) != is_live(revealed(secret_key)):
            mine, other = ("live", "test") if is_live(value) else ("test", "live")
            raise ValueError(f"is a {mine} key but {variable('stripe_api_key')} is a {other} key")
        return value

    @field_validator("stripe_mongodb_url")
    @classmethod
    def _check_durable(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        if revealed(value).startswith("memory://") and _has_live_key(info):
            raise ValueError("is memory://, which forgets all credits at exit, with a live key")
        return value

    @field_validator("stripe_api_base")
    @classmethod
    def _check_api_base(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and not value.startswith("https://") and _has_live_key(info):
            raise ValueError("is not https, and the key is a live key")
        return value

    @field_validator("stripe_js_url")
    @classmethod
    def _check_js_url(cls, value: str, info: ValidationInfo) -> str:
        if value != STRIPE_JS_URL and _has_live_key(info):
            # Only Stripe's own script may handle card data: https://docs.stripe.com/security/guide
            raise ValueError("is not Stripe's own Stripe.js, and the key is a live key")
        return value

    @field_validator("jwt_secret")
    @classmethod
    def _check_jwt_secret(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None:
            check_jwt_secret(value, info.data.get("jwt_algorithm", "HS256"))
        return value


def variable(name: str) -> str:
    """Return the environment variable of a setting.

    Args:
        name: The name of its field in :class:`Settings`.
    """
    return variable_of(Settings.model_fields[name])


def _has_live_key(info: ValidationInfo) -> bool:
    return is_live(revealed(info.data.get("stripe_api_key", "")))


def read_environment(
    environ: Mapping[str, str] | None = None, *, folder: Path | str | None = None
) -> Environment:
    """Read the environment variables, and the files of the variables that are not set.

    Args:
        environ: The variables; by default those of the process.
        folder: The folder of the files; by default that of the variable.
    """
    environ = os.environ if environ is None else environ
    folder_variable = variable("stripe_secrets_dir")
    folder = folder or unquoted(environ.get(folder_variable, ""))
    return with_secret_files(
        environ, Path(folder) if folder else None, folder_variable=folder_variable
    )
