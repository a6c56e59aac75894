"""The configuration, read once at the root and passed down.

Each value comes from one environment variable. All are checked together: a wrong configuration
raises one :class:`SettingsError` with a :class:`Fault` for each thing that is wrong, and no
error, log line or ``repr`` shows a secret.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from .settings_checks import (
    check_url,
    is_live,
    is_origin,
    is_placeholder,
    kind_problem,
    revealed,
    unquoted,
)

DEFAULT_JWT_ISSUER = "https://id.datalayer.run"

# Of the API version that our own calls name: docs.stripe.com/sdks/stripejs-versioning.
STRIPE_JS_URL = "https://js.stripe.com/dahlia/stripe.js"

# Stripe's own are `whsec_` and 32 characters, those of its command line longer.
_MIN_SECRET = len("whsec_") + 24

_PREFIXES = {
    "stripe_api_key": ("sk_test_", "sk_live_", "rk_test_", "rk_live_"),
    "stripe_js_api_key": ("pk_test_", "pk_live_"),
    "stripe_topup_product_id": ("prod_", ""),  # or an id of one's own
    "stripe_subscription_product_ids": ("prod_", ""),
    "stripe_webhook_secrets": ("whsec_",),
    "stripe_cust_portal_id": ("bpc_",),
}
_NO_PLACEHOLDERS = (*_PREFIXES, "stripe_cust_portal_url", "stripe_mongodb_url", "jwt_secret")
_LISTS = (
    "stripe_subscription_product_ids",
    "stripe_webhook_secrets",
    "stripe_plugins_disabled",
    "jwt_allowed_issuers",
    "cors_origins",
)
# RFC 7518 §3.2: a key is at least as long as the hash's output.
_JWT_SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}

_KEYS_PAGE = "in Stripe's dashboard, Developers → API keys, https://dashboard.stripe.com/apikeys"
_PRODUCTS_PAGE = "in Stripe's dashboard, Product catalog, https://dashboard.stripe.com/products"
_WEBHOOKS_PAGE = (
    "in Stripe's dashboard, Developers → Webhooks, https://dashboard.stripe.com/webhooks"
)
_PORTAL_PAGE = (
    "in Stripe's dashboard, Settings → Billing → Customer portal, "
    "https://dashboard.stripe.com/settings/billing/portal"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: the variable, what is wrong with it, where the right value is."""

    variable: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        """One line for the operator."""
        return f"{self.variable}: {self.problem}. {self.remedy}"


class SettingsError(Exception):
    """The configuration cannot be used; ``faults`` has all reasons, ``str()`` a line for each."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        """Keep the faults in the order of the settings."""
        self.faults = list(faults)
        super().__init__("\n".join(map(str, self.faults)))


def _setting(variable: str, remedy: str, **options: Any) -> Any:
    return Field(validation_alias=variable, json_schema_extra={"remedy": remedy}, **options)


class Settings(BaseSettings):
    """Everything an operator can set. Made by :meth:`from_environment`, or from keywords alone.

    Keywords are the field names below. Values may be strings as in the environment: blanks and
    quotes around them are dropped, and lists are comma separated.

    Raises:
        SettingsError: with every fault found, not only the first.
    """

    model_config = SettingsConfigDict(
        frozen=True, populate_by_name=True, validate_default=True, enable_decoding=False
    )

    stripe_api_key: SecretStr = _setting(
        "DATALAYER_STRIPE_API_KEY", f"Find it {_KEYS_PAGE} → Secret key."
    )
    stripe_js_api_key: str = _setting(
        "DATALAYER_STRIPE_JS_API_KEY", f"Find it {_KEYS_PAGE} → Publishable key."
    )
    stripe_topup_product_id: str = _setting(
        "DATALAYER_STRIPE_TOPUP_PRODUCT_ID",
        f"Find it {_PRODUCTS_PAGE} → the product whose prices are the credit packages.",
    )
    stripe_subscription_product_ids: tuple[str, ...] = _setting(
        "DATALAYER_STRIPE_SUBSCRIPTION_PRODUCT_ID",
        f"Find it {_PRODUCTS_PAGE} → the product of the monthly plan; commas between several.",
    )
    stripe_webhook_secrets: tuple[SecretStr, ...] = _setting(
        "DATALAYER_STRIPE_WEBHOOK_SECRET",
        f"Find it {_WEBHOOKS_PAGE} → the endpoint → Signing secret; commas between several.",
    )
    stripe_checkout_route: str = _setting(
        "DATALAYER_STRIPE_CHECKOUT_ROUTE",
        "Set a path of the web UI such as checkout, or an http(s) URL.",
        default="checkout",
    )
    stripe_cust_portal_id: str = _setting(
        "DATALAYER_STRIPE_CUST_PORTAL_ID",
        f"Make it {_PORTAL_PAGE}; `stripe billing_portal configurations list` shows its id.",
    )
    stripe_cust_portal_url: str = _setting(
        "DATALAYER_STRIPE_CUST_PORTAL_URL", f"Find it {_PORTAL_PAGE} → the link to share."
    )
    stripe_mongodb_url: SecretStr = _setting(
        "DATALAYER_STRIPE_MONGODB_URL",
        "Set the mongodb:// or mongodb+srv:// URL of a replica set, or memory:// to try it out.",
        default="memory://",
    )
    stripe_negative_balance: Literal["allow", "debt"] = _setting(
        "DATALAYER_STRIPE_NEGATIVE_BALANCE",
        "Set allow, or debt: then a refund leaves a debt that the next credits pay.",
        default="allow",
    )
    stripe_topup_during_dispute: Literal["allow", "refuse"] = _setting(
        "DATALAYER_STRIPE_TOPUP_DURING_DISPUTE",
        "Set allow, or refuse: then an account whose payment is disputed buys no credits.",
        default="allow",
    )
    stripe_reconcile_interval: int = _setting(
        "DATALAYER_STRIPE_RECONCILE_INTERVAL",
        "Set the seconds from one reconciliation with Stripe to the next, 60 at least; 0 is never.",
        default=3600,
        ge=0,
    )
    stripe_plugins_dir: Path | None = _setting(
        "DATALAYER_STRIPE_PLUGINS_DIR",
        "Set the path of a folder of plugin files, or leave it out.",
        default=None,
    )
    stripe_plugins_disabled: tuple[str, ...] = _setting(
        "DATALAYER_STRIPE_PLUGINS_DISABLED",
        "Set the names of the plugins to switch off; commas between several.",
        default=(),
    )
    stripe_api_base: str | None = _setting(
        "DATALAYER_STRIPE_API_BASE",
        "Leave it out for Stripe itself; it is for tests against another address.",
        default=None,
    )
    stripe_js_url: str = _setting(
        "DATALAYER_STRIPE_JS_URL",
        "Leave it out for Stripe's own; it is for tests against another address.",
        default=STRIPE_JS_URL,
    )
    stripe_sign_in_url: str | None = _setting(
        "DATALAYER_STRIPE_SIGN_IN_URL",
        "Set the http(s) URL or the path, from / on, where people sign in.",
        default=None,
    )
    stripe_jupyter_username_prefix: str = _setting(
        "DATALAYER_STRIPE_JUPYTER_USERNAME_PREFIX",
        "Set up to 32 printable ASCII characters without spaces, such as jupyter: to put before "
        "the usernames of a Jupyter Server.",
        default="",
        pattern=r"^[!-~]{0,32}$",
    )
    # Above jwt_secret, whose least length depends on it.
    jwt_algorithm: Literal["HS256", "HS384", "HS512"] = _setting(
        "DATALAYER_JWT_ALGORITHM",
        "Set the algorithm of the service that issues the tokens.",
        default="HS256",
    )
    # None in JupyterSettings alone: there is no default here.
    jwt_secret: SecretStr | None = _setting(
        "DATALAYER_JWT_SECRET",
        "Set the secret of the service that issues the tokens, or make one: openssl rand -hex 32",
    )
    jwt_issuer: str = _setting(
        "DATALAYER_JWT_ISSUER",
        "Set the `iss` claim of the tokens to accept.",
        default=DEFAULT_JWT_ISSUER,
    )
    jwt_allowed_issuers: tuple[str, ...] = _setting(
        "DATALAYER_JWT_ALLOWED_ISSUERS",
        "Set the `iss` claims of the tokens to accept; commas between several.",
        default=(),
    )
    cors_origins: tuple[str, ...] = _setting(
        "DATALAYER_CORS_ORIGIN",
        "Set * or origins such as https://app.example.com; commas between several.",
        default=("*",),
    )

    def __init__(self, **values: Any) -> None:
        """Check and keep the values; see the class."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            details = error.errors(include_input=False, include_url=False)
        else:
            return
        # Not inside the except block: pydantic's error holds the values, and a traceback
        # or an error reporter must not reach it through __context__.
        raise SettingsError(map(_fault, details))

    @classmethod
    def from_environment(cls, **overrides: Any) -> Self:
        """Read the variables of the process; keywords win over them.

        What an operator sets must not be a placeholder of the documents. Settings that are made
        from keywords alone, as by the demo, may hold one: nobody else reaches such a service.

        Raises:
            SettingsError: with every fault found, not only the first.
        """
        values = _cleaned({**EnvSettingsSource(cls, case_sensitive=True)(), **overrides})
        faults: list[Fault] = []
        try:
            settings = cls(**values)
        except SettingsError as error:
            faults = error.faults
        known = {fault.variable for fault in faults}
        faults += [one for one in _guessable_faults(values) if one.variable not in known]
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
        """Take keywords alone, so that the demo and the tests owe nothing to the shell."""
        return (init_settings,)

    @property
    def livemode(self) -> bool:
        """Whether the keys move real money: what an event's own ``livemode`` must be."""
        return is_live(self.stripe_api_key.get_secret_value())

    @property
    def checkout_path(self) -> str | None:
        """The path of the checkout page, such as ``/checkout``; None where it is elsewhere."""
        route = self.stripe_checkout_route
        return None if "://" in route else f"/{route.strip('/')}"

    @property
    def accepted_issuers(self) -> frozenset[str]:
        """The ``iss`` claims to accept: both settings together; the default when neither is set."""
        allowed = frozenset(self.jwt_allowed_issuers)
        if allowed and "jwt_issuer" not in self.model_fields_set:
            return allowed
        return allowed | {self.jwt_issuer}

    @model_validator(mode="before")
    @classmethod
    def _clean(cls, values: dict[str, Any]) -> dict[str, Any]:
        return _cleaned(values)

    @field_validator(*_PREFIXES)
    @classmethod
    def _check_kind(cls, value: Any, info: ValidationInfo) -> Any:
        texts = [revealed(item) for item in (value if isinstance(value, tuple) else (value,))]
        for number, text in enumerate(texts, start=1):
            if problem := kind_problem(text, _PREFIXES[str(info.field_name)]):
                raise ValueError(f"{problem} (value {number})" if len(texts) > 1 else problem)
        return value

    @field_validator("stripe_js_api_key")
    @classmethod
    def _check_same_mode(cls, value: str, info: ValidationInfo) -> str:
        secret_key = info.data.get("stripe_api_key")
        if secret_key and is_live(value) != is_live(revealed(secret_key)):
            mine, other = ("live", "test") if is_live(value) else ("test", "live")
            raise ValueError(f"is a {mine} key but DATALAYER_STRIPE_API_KEY is a {other} key")
        return value

    @field_validator("stripe_mongodb_url")
    @classmethod
    def _check_mongodb_url(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        text = revealed(value)
        if not re.fullmatch(r"memory://\w*|mongodb(\+srv)?://[^\s/]\S*", text):
            raise ValueError("is not a mongodb://, mongodb+srv:// or memory:// URL")
        if text.startswith("memory://") and _has_live_key(info):
            raise ValueError("is memory://, which forgets every credit at exit, with a live key")
        return value

    @field_validator("stripe_reconcile_interval")
    @classmethod
    def _check_interval(cls, value: int) -> int:
        if 0 < value < 60:
            raise ValueError("is less than 60 seconds")
        return value

    @field_validator("stripe_plugins_dir")
    @classmethod
    def _check_folder(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_dir():
            raise ValueError("is no folder that is there")
        return value

    @field_validator("stripe_checkout_route")
    @classmethod
    def _check_route(cls, value: str) -> str:
        if re.match(r"https?://", value):
            check_url(value, ("https", "http"))
        elif not re.fullmatch(r"/?[\w.~-]+(/[\w.~-]+)*/?", value, re.ASCII) or ".." in value:
            raise ValueError("is neither a plain path nor an http(s) URL")
        return value

    @field_validator("stripe_cust_portal_url")
    @classmethod
    def _check_portal_url(cls, value: str) -> str:
        check_url(value, ("https",), local_http=True)
        return value

    @field_validator("stripe_api_base")
    @classmethod
    def _check_api_base(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None:
            return None
        check_url(value, ("https", "http"))
        if not value.startswith("https://") and _has_live_key(info):
            raise ValueError("is not https, and the key is a live one")
        return value.rstrip("/")

    @field_validator("stripe_js_url")
    @classmethod
    def _check_js_url(cls, value: str, info: ValidationInfo) -> str:
        check_url(value, ("https", "http"))
        if value != STRIPE_JS_URL and _has_live_key(info):
            # docs.stripe.com/security/guide: card data is Stripe's own script's business alone.
            raise ValueError("is not Stripe's own Stripe.js, and the key is a live one")
        return value

    @field_validator("stripe_sign_in_url")
    @classmethod
    def _check_sign_in_url(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"/(?!/)[\w.~/-]*", value, re.ASCII):
            check_url(value, ("https", "http"))
        return value

    @field_validator("jwt_secret")
    @classmethod
    def _check_jwt_secret(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None:
            return None
        algorithm = info.data.get("jwt_algorithm", "HS256")
        least = _JWT_SECRET_BYTES[algorithm]
        if len(revealed(value).encode()) < least:
            raise ValueError(f"is shorter than the {least} bytes {algorithm} needs (RFC 7518 §3.2)")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        if values == ("*",):
            return values
        if "*" in values:
            raise ValueError("mixes * with origins; it is one or the other")
        for number, value in enumerate(values, start=1):
            if not is_origin(value):
                raise ValueError(f"is not scheme://host[:port], without a path (value {number})")
        return tuple(value.lower() for value in values)


def _cleaned(values: Mapping[str, Any]) -> dict[str, Any]:
    """Drop what pasting leaves around a value; split lists; a blank value is a missing one."""
    names = {field.validation_alias: name for name, field in Settings.model_fields.items()}
    cleaned: dict[str, Any] = {}
    for key, raw in values.items():
        name = names.get(key, key)
        value = unquoted(raw)
        if name in _LISTS and isinstance(value, str):
            value = tuple(filter(None, map(unquoted, value.split(","))))
        if value not in (None, "", ()):
            cleaned[name] = value
    return cleaned


def _has_live_key(info: ValidationInfo) -> bool:
    return is_live(revealed(info.data.get("stripe_api_key", "")))


def _guessable_faults(values: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield a fault for each field of these that holds a placeholder or too short a secret."""
    for name in _NO_PLACEHOLDERS:
        value = values.get(name, ())
        texts = map(revealed, value if isinstance(value, tuple | list) else (value,))
        known = [text for text in texts if isinstance(text, str)]
        if any(map(is_placeholder, known)):
            yield _named_fault(name, "is a placeholder of the documents")
        elif name == "stripe_webhook_secrets" and any(len(one) < _MIN_SECRET for one in known):
            yield _named_fault(name, "is shorter than any that Stripe makes, and could be guessed")


def _named_fault(name: str, problem: str) -> Fault:
    field = Settings.model_fields[name]
    extra = field.json_schema_extra
    remedy = str(extra["remedy"]) if isinstance(extra, dict) else ""
    return Fault(str(field.validation_alias), problem, remedy)


def _fault(detail: ErrorDetails) -> Fault:
    fields = Settings.model_fields
    names = {str(field.validation_alias): name for name, field in fields.items()}
    key = str(detail["loc"][0])
    name = names.get(key, key)
    match detail["type"]:
        case "missing":
            problem = "is missing or blank"
        case "value_error":
            problem = str(detail["ctx"]["error"])
        case "literal_error":
            problem = f"is not one of {detail['ctx']['expected']}"
        case "int_parsing" | "int_type" | "greater_than_equal":
            problem = "is not a whole number from 0 on"
        case "string_pattern_mismatch":
            problem = "is too long, or has characters that are not allowed"
        case "extra_forbidden":
            raise TypeError(f"Settings has no field {name}")
        case _:
            problem = f"is of the wrong type: {detail['msg']}"
    return _named_fault(name, problem)
