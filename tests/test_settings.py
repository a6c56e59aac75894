"""The settings: how they are read, checked and documented."""

import ast
import logging
import os
import re
import subprocess
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

import datalayer_stripe
from datalayer_stripe.errors import SettingsError
from datalayer_stripe.settings import Settings
from tests.support.settings_documents import (
    CONFIGURATION,
    EXAMPLE,
    with_tables,
    with_variables,
)

VARIABLES = {name: str(field.validation_alias) for name, field in Settings.model_fields.items()}
REQUIRED = {
    "DATALAYER_STRIPE_API_KEY": "sk_test_tests",
    "DATALAYER_STRIPE_JS_API_KEY": "pk_test_tests",
    "DATALAYER_STRIPE_TOPUP_PRODUCT_ID": "prod_topup",
    "DATALAYER_STRIPE_SUBSCRIPTION_PRODUCT_ID": "prod_plan",
    "DATALAYER_STRIPE_WEBHOOK_SECRET": "whsec_testsTestsTestsTestsTests",
    "DATALAYER_STRIPE_CUST_PORTAL_ID": "bpc_tests",
    "DATALAYER_STRIPE_CUST_PORTAL_URL": "https://billing.example.com/p/login/test",
    "DATALAYER_JWT_SECRET": "0123456789abcdef0123456789abcdef",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Set the required variables, and unset all others."""
    for variable in VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    for variable, value in REQUIRED.items():
        monkeypatch.setenv(variable, value)
    return monkeypatch


def faults_of(**values: Any) -> dict[str, str]:
    """Return the problem of each faulty variable if `values` replace valid ones."""
    with pytest.raises(SettingsError) as caught:
        Settings(**{**REQUIRED, **values})
    assert all(fault.remedy for fault in caught.value.faults)
    return {fault.variable: fault.problem for fault in caught.value.faults}


def test_settings_are_read_from_the_environment_with_defaults(
    environment: pytest.MonkeyPatch,
) -> None:
    environment.setenv(
        "DATALAYER_STRIPE_WEBHOOK_SECRET",
        "whsec_oneOneOneOneOneOneOneOne, whsec_twoTwoTwoTwoTwoTwoTwoTwo",
    )
    environment.setenv("DATALAYER_STRIPE_SUBSCRIPTION_PRODUCT_ID", "prod_a,prod_b,")
    settings = Settings.from_environment()
    assert settings.stripe_api_key.get_secret_value() == "sk_test_tests"
    assert [one.get_secret_value() for one in settings.stripe_webhook_secrets] == [
        "whsec_oneOneOneOneOneOneOneOne",
        "whsec_twoTwoTwoTwoTwoTwoTwoTwo",
    ]
    assert settings.stripe_subscription_product_ids == ("prod_a", "prod_b")
    assert settings.stripe_checkout_route == "checkout"
    assert settings.stripe_mongodb_url.get_secret_value() == "memory://"
    assert settings.stripe_negative_balance == "allow"
    assert settings.stripe_topup_during_dispute == "allow"
    assert settings.stripe_api_base is None
    assert settings.stripe_js_url == "https://js.stripe.com/endive/stripe.js"
    assert settings.stripe_sign_in_url is None
    assert settings.jwt_algorithm == "HS256"
    assert settings.cors_origins == ("*",)
    assert settings.accepted_issuers == {"https://id.datalayer.run"}
    assert settings.livemode is False


def test_keywords_override_the_environment(environment: pytest.MonkeyPatch) -> None:
    settings = Settings.from_environment(stripe_checkout_route="buy")
    assert settings.stripe_checkout_route == "buy"


def test_constructor_ignores_the_environment(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("DATALAYER_STRIPE_API_BASE", "https://api.example.com")
    assert Settings(**REQUIRED).stripe_api_base is None
    with pytest.raises(SettingsError):
        Settings()


def test_unknown_keyword_raises_type_error() -> None:
    with pytest.raises(TypeError, match="stripe_key"):
        Settings(**REQUIRED, stripe_key="x")


def test_value_of_a_wrong_type_is_reported() -> None:
    assert faults_of(jwt_issuer=5) == {
        "DATALAYER_JWT_ISSUER": "is of the wrong type: Input should be a valid string"
    }


def test_settings_are_frozen(settings: Settings) -> None:
    with pytest.raises(ValidationError):
        settings.stripe_checkout_route = "other"  # type: ignore[misc]


def test_all_missing_values_are_reported_together(environment: pytest.MonkeyPatch) -> None:
    for variable in REQUIRED:
        environment.delenv(variable)
    environment.setenv("DATALAYER_STRIPE_API_KEY", '  "" ')
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment()
    lines = str(caught.value).splitlines()
    assert len(lines) == len(REQUIRED)
    assert lines[0].startswith("DATALAYER_STRIPE_API_KEY: is missing or blank. Find it in Stripe's")
    assert "https://dashboard.stripe.com/apikeys" in lines[0]
    assert {line.split(":")[0] for line in lines} == set(REQUIRED)


def test_faults_of_all_kinds_are_reported_together() -> None:
    faults = faults_of(
        DATALAYER_STRIPE_JS_API_KEY="pk_live_example",
        DATALAYER_STRIPE_TOPUP_PRODUCT_ID=" ",
        DATALAYER_STRIPE_MONGODB_URL="postgres://localhost",
        DATALAYER_JWT_ALGORITHM="none",
        DATALAYER_JWT_SECRET="short",
        DATALAYER_CORS_ORIGIN="app.example.com",
    )
    assert list(faults) == [
        "DATALAYER_STRIPE_JS_API_KEY",
        "DATALAYER_STRIPE_TOPUP_PRODUCT_ID",
        "DATALAYER_JWT_ALGORITHM",
        "DATALAYER_JWT_SECRET",
        "DATALAYER_STRIPE_MONGODB_URL",
        "DATALAYER_CORS_ORIGIN",
    ]


@pytest.mark.parametrize("around", ["{} ", "\t{}\r\n", '"{}"', "'{}'", ' "{} " '])
def test_blanks_and_quotes_around_a_value_are_removed(around: str) -> None:
    pasted = {name: around.format(value) for name, value in REQUIRED.items()}
    assert Settings(**pasted) == Settings(**REQUIRED)


@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("STRIPE_API_KEY", "pk_test_example", "holds a publishable key; the right value starts"),
        ("STRIPE_API_KEY", "whsec_example", "holds a webhook signing secret;"),
        ("STRIPE_WEBHOOK_SECRET", ",".join(["whsec_x"] * 17), "has 17 secrets, and 16 are the"),
        ("STRIPE_API_KEY", "sk_example", "does not start with sk_test_ or sk_live_ or rk_test_"),
        ("STRIPE_API_KEY", "sk_test_", "is cut off, or"),
        ("STRIPE_API_KEY", "sk_test_one two", "is cut off, or contains a blank"),
        ("STRIPE_API_KEY", "sk_test_“example”", "another unexpected character"),
        ("STRIPE_JS_API_KEY", "sk_test_example", "holds a secret key;"),
        ("STRIPE_JS_API_KEY", "pk_live_example", "is a live key but DATALAYER_STRIPE_API_KEY is a"),
        ("STRIPE_TOPUP_PRODUCT_ID", "price_example", "holds a price id;"),
        ("STRIPE_SUBSCRIPTION_PRODUCT_ID", "prod_a,plan_b", "holds a plan id; the right value"),
        ("STRIPE_SUBSCRIPTION_PRODUCT_ID", " , ", "is missing or blank"),
        ("STRIPE_WEBHOOK_SECRET", "we_example", "holds the id of a webhook endpoint, not its"),
        ("STRIPE_CUST_PORTAL_ID", "prod_example", "holds a product id;"),
        ("STRIPE_CUST_PORTAL_URL", "http://billing.example.com", "is not an https URL"),
        ("STRIPE_CUST_PORTAL_URL", "billing.example.com", "is not a URL"),
        (
            "STRIPE_CUST_PORTAL_URL",
            "https://me:word@billing.example.com",
            "contains a user name or",
        ),
        ("STRIPE_CUST_PORTAL_URL", "https://billing.example.com:port", "is not a URL"),
        ("STRIPE_CHECKOUT_ROUTE", "sk_test_pasted", "holds a secret of Stripe"),
        ("STRIPE_JUPYTER_USERNAME_PREFIX", "whsec_pasted", "holds a secret of Stripe"),
        ("JWT_ISSUER", "rk_live_pasted", "holds a secret of Stripe"),
        ("STRIPE_PLUGINS_DISABLED", "a,sk_live_pasted", "holds a secret of Stripe"),
        ("STRIPE_CHECKOUT_ROUTE", "//evil.example.com", "is neither a plain path nor"),
        ("STRIPE_CHECKOUT_ROUTE", "../admin", "is neither a plain path nor"),
        ("STRIPE_CHECKOUT_ROUTE", "javascript:alert(1)", "is neither a plain path nor"),
        ("STRIPE_CHECKOUT_ROUTE", "https://", "is not a URL"),
        ("STRIPE_MONGODB_URL", "localhost:27017", "is not a mongodb://, mongodb+srv:// or memory"),
        ("STRIPE_MONGODB_URL", "mongodb://", "is not a mongodb://"),
        ("STRIPE_API_BASE", "ftp://api.example.com", "is not an https URL"),
        ("STRIPE_JS_URL", "js.stripe.com", "is not a URL"),
        ("STRIPE_METRICS_ADDRESS", "9464", "is not host:port"),
        ("STRIPE_METRICS_ADDRESS", ":9464", "is not host:port"),
        ("STRIPE_METRICS_ADDRESS", "http://127.0.0.1:9464", "is not host:port"),
        ("STRIPE_METRICS_ADDRESS", "127.0.0.1:70000", "is not host:port"),
        ("STRIPE_METRICS_ADDRESS", "me:word@127.0.0.1:9464", "is not host:port"),
        ("STRIPE_SIGN_IN_URL", "javascript:alert(1)", "is not a URL"),
        ("STRIPE_SIGN_IN_URL", "//evil.example.com", "is not an https URL"),
        ("STRIPE_SIGN_IN_URL", "sign-in", "is not a URL"),
        ("JWT_SECRET", "x" * 31, "is shorter than the 32 bytes that HS256 requires"),
        ("STRIPE_NEGATIVE_BALANCE", "forbid", "is not one of 'allow' or 'debt'"),
        ("STRIPE_MONGODB_DRIVER", "mongoengine", "is not one of 'motor' or 'pymongo'"),
        ("STRIPE_TOPUP_DURING_DISPUTE", "no", "is not one of 'allow' or 'refuse'"),
        ("JWT_ALGORITHM", "RS256", "is not one of 'HS256', 'HS384' or 'HS512'"),
        ("STRIPE_TRUSTED_PROXIES", "127.0.0.1,10.0.0.1/8", "not 0: write 10.0.0.0/8 (value 2)"),
        ("STRIPE_TRUSTED_PROXIES", "10.0.0.1/0", "is every address"),
        ("STRIPE_TRUSTED_PROXIES", "10.0.0.0/33", "is not an IP address or network (value 1)"),
        ("CORS_ORIGIN", "https://app.example.com/", "is not scheme://host[:port], without a path"),
        ("CORS_ORIGIN", "https://app.example.com,null", "without a path (value 2)"),
        ("CORS_ORIGIN", "*,https://app.example.com", "has both * and origins"),
    ],
)
def test_error_names_the_variable_of_a_wrong_value(variable: str, value: str, problem: str) -> None:
    variable = f"DATALAYER_{variable}"
    faults = faults_of(**{variable: value})
    assert list(faults) == [variable]
    assert problem in faults[variable]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("STRIPE_API_KEY", "rk_test_example"),
        ("STRIPE_CHECKOUT_ROUTE", "/billing/check-out"),
        ("STRIPE_CHECKOUT_ROUTE", "https://app.example.com/checkout"),
        ("STRIPE_NEGATIVE_BALANCE", "debt"),
        ("STRIPE_TOPUP_DURING_DISPUTE", "refuse"),
        ("STRIPE_CUST_PORTAL_URL", "http://127.0.0.1:9800/portal"),
        ("STRIPE_CUST_PORTAL_URL", "http://localhost:9800/portal"),
        ("STRIPE_MONGODB_URL", "mongodb://a.example.com:1,b.example.com:2/db?replicaSet=rs0"),
        ("STRIPE_MONGODB_URL", "mongodb+srv://name:word@cluster.example.com/db"),
        ("STRIPE_API_BASE", "http://127.0.0.1:12111"),
        ("STRIPE_JS_URL", "http://127.0.0.1:12111/stripe.js"),
        ("STRIPE_SIGN_IN_URL", "https://app.example.com/login?next=checkout"),
        ("STRIPE_SIGN_IN_URL", "/login"),
        ("STRIPE_METRICS_ADDRESS", "0.0.0.0:9464"),
        ("STRIPE_METRICS_ADDRESS", "[::1]:9464"),
        ("STRIPE_METRICS_ADDRESS", "metrics.internal:0"),
        ("CORS_ORIGIN", "https://app.example.com, http://localhost:3000,http://[::1]:3000"),
    ],
)
def test_valid_values_are_accepted(variable: str, value: str) -> None:
    Settings(**{**REQUIRED, f"DATALAYER_{variable}": value})


@pytest.mark.parametrize(("algorithm", "min_bytes"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_jwt_secret_is_at_least_as_long_as_the_hash(algorithm: str, min_bytes: int) -> None:
    values = {**REQUIRED, "DATALAYER_JWT_ALGORITHM": algorithm}
    Settings(**{**values, "DATALAYER_JWT_SECRET": "x" * min_bytes})
    short = faults_of(**{**values, "DATALAYER_JWT_SECRET": "x" * (min_bytes - 1)})
    assert f"{min_bytes} bytes" in short["DATALAYER_JWT_SECRET"]


LIVE = {
    "DATALAYER_STRIPE_API_KEY": "sk_live_example",
    "DATALAYER_STRIPE_JS_API_KEY": "pk_live_example",
    "DATALAYER_STRIPE_MONGODB_URL": "mongodb://db.example.com/datalayer?replicaSet=rs0",
}


@pytest.mark.parametrize("key", ["sk_live_example", "rk_live_example"])
def test_live_key_sets_live_mode(key: str) -> None:
    settings = Settings(**{**REQUIRED, **LIVE, "DATALAYER_STRIPE_API_KEY": key})
    assert settings.livemode is True


def test_live_key_is_refused_with_settings_for_tests() -> None:
    faults = faults_of(
        **{
            **LIVE,
            "DATALAYER_STRIPE_JS_API_KEY": "pk_test_example",
            "DATALAYER_STRIPE_MONGODB_URL": "",
            "DATALAYER_STRIPE_API_BASE": "http://127.0.0.1:12111",
            "DATALAYER_STRIPE_JS_URL": "https://js.example.com/stripe.js",
        }
    )
    assert faults == {
        "DATALAYER_STRIPE_JS_API_KEY": "is a test key but DATALAYER_STRIPE_API_KEY is a live key",
        "DATALAYER_STRIPE_MONGODB_URL": (
            "is memory://, which forgets all credits at exit, with a live key"
        ),
        "DATALAYER_STRIPE_API_BASE": "is not https, and the key is a live key",
        "DATALAYER_STRIPE_JS_URL": "is not Stripe's own Stripe.js, and the key is a live key",
    }


@pytest.mark.parametrize(
    ("issuer", "allowed", "accepted"),
    [
        ("", "", {"https://id.datalayer.run"}),
        ("https://a.example.com", "", {"https://a.example.com"}),
        ("", "https://b.example.com", {"https://b.example.com"}),
        (
            "https://a.example.com",
            "https://b.example.com, https://c.example.com",
            {"https://a.example.com", "https://b.example.com", "https://c.example.com"},
        ),
    ],
)
def test_issuer_and_allowed_issuers_are_accepted(
    issuer: str, allowed: str, accepted: set[str]
) -> None:
    settings = Settings(
        **REQUIRED, DATALAYER_JWT_ISSUER=issuer, DATALAYER_JWT_ALLOWED_ISSUERS=allowed
    )
    assert settings.accepted_issuers == accepted


def test_repr_and_dump_do_not_contain_secrets() -> None:
    settings = Settings(
        **{
            **REQUIRED,
            "DATALAYER_STRIPE_API_KEY": SecretStr("sk_test_hidden1"),
            "DATALAYER_STRIPE_WEBHOOK_SECRET": (SecretStr("whsec_hidden2"), "whsec_hidden3"),
            "DATALAYER_STRIPE_MONGODB_URL": "mongodb://name:hidden4@db.example.com",
            "DATALAYER_JWT_SECRET": "hidden5" * 8,
        }
    )
    assert "hidden" not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_errors_and_tracebacks_do_not_contain_values(caplog: pytest.LogCaptureFixture) -> None:
    bad = {variable: f"hidden {number}" for number, variable in enumerate(VARIABLES.values())}
    with pytest.raises(SettingsError) as caught:
        Settings(**bad)
    error = caught.value
    assert error.__context__ is None
    logging.getLogger(__name__).error("start", exc_info=error)
    text = "".join(traceback.format_exception(error)) + repr(error) + str(error)
    assert len(text.splitlines()) > len(bad)
    assert "hidden " not in text + caplog.text


def test_docs_and_example_file_are_generated_from_the_fields() -> None:
    documents = ((CONFIGURATION, with_tables), (EXAMPLE, with_variables))
    for path, generate in documents:
        text = path.read_text(encoding="utf-8")
        assert generate(text) == text, f"{path.name} is out of date: run `make settings`"


def test_variable_name_is_written_only_at_its_field() -> None:
    package = Path(datalayer_stripe.__file__).parent
    for path in package.rglob("*.py"):
        # The traits name their variables for `--help-all`; a test compares them with the fields.
        if path.name == "settings.py" or path.match("jupyter/extension.py"):
            continue
        for node in strings_in(path):
            found = [one for one in VARIABLES.values() if re.search(rf"\b{one}\b", node.value)]
            assert not found, f"{path}:{node.lineno} spells {found}: use `variable()`"


def strings_in(path: Path) -> Iterator[ast.Constant]:
    """Yield the strings of a module that are not documentation."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in documentation:
            yield node


def test_example_file_has_all_variables_and_loads_in_a_shell() -> None:
    names = [
        line.split("=")[0]
        for line in EXAMPLE.read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    assert sorted(names) == sorted(VARIABLES.values())
    printed = subprocess.run(
        ["bash", "-euc", 'set -a; . "$1"; env -0', "bash", EXAMPLE],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    sourced = dict(item.split("=", 1) for item in printed.split("\0") if item)
    Settings(**{name: sourced[name] for name in names})


def test_example_file_loads_with_docker_s_env_file() -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    Settings(**dict(line.split("=", 1) for line in lines if line and not line.startswith("#")))
