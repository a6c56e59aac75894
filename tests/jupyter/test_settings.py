"""Traits and environment."""

import re
from pathlib import Path
from typing import Any

import pytest
from jupyter_server.auth.identity import IdentityProvider, PasswordIdentityProvider, User
from traitlets.config import Config

from datalayer_stripe.configuration import Configuration
from datalayer_stripe.errors import Forbidden
from datalayer_stripe.jupyter.extension import DOCUMENT as LINK
from datalayer_stripe.jupyter.extension import DatalayerStripe
from datalayer_stripe.jupyter.settings import JupyterSettings
from datalayer_stripe.jupyter.users import has_stable_usernames, identity_of
from datalayer_stripe.settings import Settings, SettingsError

DOCUMENT = Path(__file__).parents[2] / "docs" / "jupyter.md"
REQUIRED = {
    "stripe_api_key": "sk_test_tests",
    "stripe_js_api_key": "pk_test_tests",
    "stripe_topup_product_id": "prod_topup",
    "stripe_subscription_product_id": "prod_plan",
    "stripe_webhook_secret": "whsec_testsTestsTestsTestsTests",
    "stripe_cust_portal_id": "bpc_tests",
    "stripe_cust_portal_url": "https://billing.example.com/p/login/test",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """With none of the variables."""
    for field in Settings.model_fields.values():
        monkeypatch.delenv(str(field.validation_alias), raising=False)
    return monkeypatch


def extension(**traits: Any) -> DatalayerStripe:
    return DatalayerStripe(config=Config({"DatalayerStripe": traits}))


def settings_of(**traits: Any) -> JupyterSettings:
    configuration = extension(**traits).configuration
    assert isinstance(configuration, Configuration), configuration
    assert isinstance(configuration.settings, JupyterSettings)
    return configuration.settings


def test_every_setting_has_a_trait() -> None:
    traits = DatalayerStripe.class_own_traits(config=True)
    for field in Settings.model_fields.values():
        name = str(field.validation_alias).removeprefix("DATALAYER_").lower()
        assert str(field.validation_alias) in traits[name].help


def test_traits_alone_are_enough() -> None:
    settings = settings_of(**REQUIRED, stripe_reconcile_interval="0", cors_origin=["https://a.com"])
    assert settings.stripe_api_key.get_secret_value() == "sk_test_tests"
    assert settings.stripe_reconcile_interval == 0
    assert settings.cors_origins == ("https://a.com",)
    assert settings.jwt_secret is None


def test_the_environment_is_enough_and_traits_win(environment: pytest.MonkeyPatch) -> None:
    for name, value in REQUIRED.items():
        environment.setenv(f"DATALAYER_{name.upper()}", value)
    environment.setenv("DATALAYER_JWT_SECRET", "")
    assert settings_of().stripe_topup_product_id == "prod_topup"
    assert settings_of().jwt_secret is None
    assert settings_of(stripe_topup_product_id="prod_b").stripe_topup_product_id == "prod_b"


def test_lists_may_be_lists_or_text() -> None:
    listed = settings_of(
        **{
            **REQUIRED,
            "stripe_webhook_secret": [
                "whsec_aaaaaaaaaaaaaaaaaaaaaaaa",
                "whsec_bbbbbbbbbbbbbbbbbbbbbbbb",
            ],
        }
    )
    joined = settings_of(
        **{
            **REQUIRED,
            "stripe_webhook_secret": f"whsec_{'a' * 24}, whsec_{'b' * 24}",
        }
    )
    assert listed == joined


def test_values_may_be_what_they_are_in_python(tmp_path: Path) -> None:
    settings = settings_of(
        **{
            **REQUIRED,
            "stripe_webhook_secret": (
                "whsec_aaaaaaaaaaaaaaaaaaaaaaaa",
                "whsec_bbbbbbbbbbbbbbbbbbbbbbbb",
            ),
        },
        stripe_reconcile_interval=600,
        stripe_plugins_dir=tmp_path,
    )
    assert len(settings.stripe_webhook_secrets) == 2
    assert settings.stripe_reconcile_interval == 600
    assert settings.stripe_plugins_dir == tmp_path


def test_a_value_of_no_use_is_named_and_not_shown() -> None:
    secret = {"hidden": "sk_test_example"}
    faulty = extension(**{**REQUIRED, "stripe_api_key": secret}).configuration
    assert isinstance(faulty, SettingsError)
    assert [fault.variable for fault in faulty.faults] == ["DATALAYER_STRIPE_API_KEY"]
    assert "hidden" not in str(faulty)
    assert "sk_test" not in str(faulty)


def test_the_command_line_sets_them_too() -> None:
    command = DatalayerStripe()
    command.parse_command_line([f"--DatalayerStripe.{one}={two}" for one, two in REQUIRED.items()])
    assert isinstance(command.configuration, Configuration), command.configuration


def test_a_secret_that_is_given_is_checked() -> None:
    faulty = extension(**REQUIRED, jwt_secret="short").configuration
    assert isinstance(faulty, SettingsError)
    assert [fault.variable for fault in faulty.faults] == ["DATALAYER_JWT_SECRET"]


def test_the_service_alone_needs_the_secret() -> None:
    variables = {f"DATALAYER_{name.upper()}": value for name, value in REQUIRED.items()}
    JupyterSettings(**variables)
    for absent in ({}, {"jwt_secret": None}, {"jwt_secret": " "}):
        with pytest.raises(SettingsError, match="DATALAYER_JWT_SECRET: is missing or blank"):
            Settings(**variables, **absent)


@pytest.mark.parametrize(
    ("traits", "url"),
    [
        ({}, "/checkout"),
        (REQUIRED, "/checkout"),
        ({**REQUIRED, "stripe_checkout_route": "shop/credits"}, "/shop/credits"),
        ({**REQUIRED, "stripe_checkout_route": "https://app.example.com/buy"}, "/"),
    ],
)
def test_its_first_page_is_the_checkout_page(traits: dict[str, str], url: str) -> None:
    assert extension(**traits).default_url == url


# People


class Named(PasswordIdentityProvider):
    pass


def test_a_made_up_name_spends_no_money() -> None:
    somebody = User("ada", "Ada Lovelace")
    for stock in (IdentityProvider(), PasswordIdentityProvider()):
        assert not has_stable_usernames(stock)
        assert identity_of(somebody, stock, livemode=False).account_uid == "ada"
        with pytest.raises(Forbidden, match="generates a new user name"):
            identity_of(somebody, stock, livemode=True)
    assert identity_of(somebody, Named(), livemode=True).name == "Ada Lovelace"


def test_a_long_name_is_cut_and_a_long_username_refused() -> None:
    assert identity_of(User("a", "b" * 500), Named(), livemode=True).name == "b" * 120
    with pytest.raises(Forbidden, match="user name"):
        identity_of(User("a" * 129), Named(), livemode=True)


# The document


def shown(word: str) -> str:
    """The first block of Python in the document that has this word."""
    blocks = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.M | re.S)
    return next(block for block in blocks if word in block)


def test_the_traits_that_the_document_shows_are_enough() -> None:
    config = Config()
    exec(shown("DatalayerStripe"), {"c": config})
    traits = dict(config.DatalayerStripe)
    assert set(traits) >= set(REQUIRED)
    refused = extension(**traits).configuration
    assert isinstance(refused, SettingsError)
    assert {fault.problem for fault in refused.faults} == {"is a placeholder of the documents"}
    configuration = extension(**{**traits, **REQUIRED}).configuration
    assert isinstance(configuration, Configuration), configuration


def test_the_document_is_where_the_log_says() -> None:
    assert LINK.endswith("/docs/jupyter.md")
    assert "\n## Who calls\n" in DOCUMENT.read_text(encoding="utf-8")
