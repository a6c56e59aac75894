"""Settings from traits and from the environment, and users as accounts."""

import re
from pathlib import Path
from typing import Any

import pytest
from jupyter_server.auth.identity import IdentityProvider, PasswordIdentityProvider, User
from traitlets.config import Config

from datalayer_stripe.configuration import Configuration
from datalayer_stripe.errors import Forbidden, SettingsError
from datalayer_stripe.jupyter.extension import DOCUMENT as LINK
from datalayer_stripe.jupyter.extension import DatalayerStripe
from datalayer_stripe.jupyter.settings import JupyterSettings
from datalayer_stripe.jupyter.users import has_stable_usernames, identity_of
from datalayer_stripe.settings import Settings

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
    """Remove the variables of all settings."""
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


def test_traits_match_settings() -> None:
    traits = DatalayerStripe.class_own_traits(config=True)
    variables = [str(field.validation_alias) for field in Settings.model_fields.values()]
    names = {variable.removeprefix("DATALAYER_").lower(): variable for variable in variables}
    missing = sorted(set(names) - set(traits))
    assert not missing, f"add these traits to DatalayerStripe in jupyter/extension.py: {missing}"
    unknown = sorted(set(traits) - set(names))
    assert not unknown, f"no field of Settings has these traits of DatalayerStripe: {unknown}"
    for name, variable in names.items():
        text, _, environment = traits[name].help.partition(" Environment: ")
        assert environment == f"{variable}.", f"the help of {name} does not end with its variable"
        assert text.endswith("."), f"the trait {name} has no help"


def test_help_all_lists_every_trait(capsys: pytest.CaptureFixture[str]) -> None:
    DatalayerStripe().print_help(classes=True)
    printed = capsys.readouterr().out
    for name, trait in DatalayerStripe.class_own_traits(config=True).items():
        assert f"--DatalayerStripe.{name}=" in printed
        assert trait.help.split()[0] in printed


def test_settings_can_come_from_traits_alone() -> None:
    settings = settings_of(**REQUIRED, stripe_reconcile_interval="0", cors_origin=["https://a.com"])
    assert settings.stripe_api_key.get_secret_value() == "sk_test_tests"
    assert settings.stripe_reconcile_interval == 0
    assert settings.cors_origins == ("https://a.com",)
    assert settings.jwt_secret is None


def test_traits_override_environment(environment: pytest.MonkeyPatch) -> None:
    for name, value in REQUIRED.items():
        environment.setenv(f"DATALAYER_{name.upper()}", value)
    environment.setenv("DATALAYER_JWT_SECRET", "")
    assert settings_of().stripe_topup_product_id == "prod_topup"
    assert settings_of().jwt_secret is None
    assert settings_of(stripe_topup_product_id="prod_b").stripe_topup_product_id == "prod_b"


def test_trait_accepts_list_or_comma_separated_text() -> None:
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


def test_trait_accepts_tuple_int_and_path(tmp_path: Path) -> None:
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


def test_error_names_invalid_trait_without_its_value() -> None:
    secret = {"hidden": "sk_test_example"}
    error = extension(**{**REQUIRED, "stripe_api_key": secret}).configuration
    assert isinstance(error, SettingsError)
    assert [fault.variable for fault in error.faults] == ["DATALAYER_STRIPE_API_KEY"]
    assert "hidden" not in str(error)
    assert "sk_test" not in str(error)


def test_traits_can_be_set_on_command_line() -> None:
    command = DatalayerStripe()
    command.parse_command_line([f"--DatalayerStripe.{one}={two}" for one, two in REQUIRED.items()])
    assert isinstance(command.configuration, Configuration), command.configuration


def test_jwt_secret_is_validated_if_set() -> None:
    error = extension(**REQUIRED, jwt_secret="short").configuration
    assert isinstance(error, SettingsError)
    assert [fault.variable for fault in error.faults] == ["DATALAYER_JWT_SECRET"]


def test_jwt_secret_is_optional_only_in_jupyter() -> None:
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
def test_default_url_is_checkout_page(traits: dict[str, str], url: str) -> None:
    assert extension(**traits).default_url == url


# Users


class NamedIdentityProvider(PasswordIdentityProvider):
    """Provider whose users have stable names."""


def test_generated_username_cannot_buy_in_live_mode() -> None:
    user = User("ada", "Ada Lovelace")
    for provider in (IdentityProvider(), PasswordIdentityProvider()):
        assert not has_stable_usernames(provider)
        assert identity_of(user, provider, livemode=False).account_uid == "ada"
        with pytest.raises(Forbidden, match="generates a new user name"):
            identity_of(user, provider, livemode=True)
    assert identity_of(user, NamedIdentityProvider(), livemode=True).name == "Ada Lovelace"


def test_long_display_name_is_shortened_and_long_username_refused() -> None:
    assert (
        identity_of(User("a", "b" * 500), NamedIdentityProvider(), livemode=True).name == "b" * 120
    )
    with pytest.raises(Forbidden, match="user name"):
        identity_of(User("a" * 129), NamedIdentityProvider(), livemode=True)


# The documentation


def documented_block(word: str) -> str:
    """Return the first Python block in docs/jupyter.md that contains `word`."""
    blocks = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.M | re.S)
    return next(block for block in blocks if word in block)


def test_traits_in_documentation_are_sufficient() -> None:
    config = Config()
    exec(documented_block("DatalayerStripe"), {"c": config})
    traits = dict(config.DatalayerStripe)
    assert set(traits) >= set(REQUIRED)
    error = extension(**traits).configuration
    assert isinstance(error, SettingsError)
    assert {fault.problem for fault in error.faults} == {
        "is still a placeholder of the documentation"
    }
    configuration = extension(**{**traits, **REQUIRED}).configuration
    assert isinstance(configuration, Configuration), configuration


def test_link_in_log_leads_to_documentation() -> None:
    assert LINK.endswith("/docs/jupyter.md")
    assert "\n## Who calls\n" in DOCUMENT.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("traits", "url"),
    [
        (REQUIRED, "/user/x/checkout"),
        ({}, "/user/x/checkout"),  # not configured
        ({**REQUIRED, "stripe_checkout_route": "buy/credits"}, "/user/x/buy/credits"),
        ({**REQUIRED, "stripe_checkout_route": "https://a.example/buy"}, "https://a.example/buy"),
    ],
)
def test_checkout_url_is_below_the_base_url_or_on_another_site(
    traits: dict[str, Any], url: str
) -> None:
    assert extension(**traits).checkout_url("/user/x/") == url
