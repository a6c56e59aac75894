"""The service refuses the placeholders that the example file and the docs show."""

import os
import re
from pathlib import Path

import pytest

from datalayer_stripe.errors import SettingsError
from datalayer_stripe.jupyter.settings import JupyterSettings
from datalayer_stripe.settings import Settings
from tests.support.command import environment, run_command

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "conf" / "datalayer-stripe.env.example"
DOCUMENTS = [EXAMPLE, ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

GOOD = {
    "DATALAYER_STRIPE_API_KEY": "sk_test_51NotInTheDocs",
    "DATALAYER_STRIPE_JS_API_KEY": "pk_test_51NotInTheDocs",
    "DATALAYER_STRIPE_TOPUP_PRODUCT_ID": "prod_topup",
    "DATALAYER_STRIPE_SUBSCRIPTION_PRODUCT_ID": "prod_plan",
    "DATALAYER_STRIPE_WEBHOOK_SECRET": "whsec_notInTheDocs0123456789abcdef",
    "DATALAYER_STRIPE_CUST_PORTAL_ID": "bpc_1NotInTheDocs",
    "DATALAYER_STRIPE_CUST_PORTAL_URL": "https://billing.example.com/p/login/test",
    "DATALAYER_JWT_SECRET": "0123456789abcdef0123456789abcdef",
}
LIVE = {
    "DATALAYER_STRIPE_API_KEY": "sk_live_51NotInTheDocs",
    "DATALAYER_STRIPE_JS_API_KEY": "pk_live_51NotInTheDocs",
    "DATALAYER_STRIPE_MONGODB_URL": "mongodb://db.example.com/datalayer?replicaSet=rs0",
}
KINDS = {
    r"[sr]k_(?:test|live)_\w+": "DATALAYER_STRIPE_API_KEY",
    r"pk_(?:test|live)_\w+": "DATALAYER_STRIPE_JS_API_KEY",
    r"whsec_\w+": "DATALAYER_STRIPE_WEBHOOK_SECRET",
    r"bpc_\w+": "DATALAYER_STRIPE_CUST_PORTAL_ID",
    r"prod_\w+": "DATALAYER_STRIPE_TOPUP_PRODUCT_ID",
    r"https://billing\.stripe\.com/p/login/\w+": "DATALAYER_STRIPE_CUST_PORTAL_URL",
    r"mongodb(?:\+srv)?://\w+:\w+@[^\s`\"]+": "DATALAYER_STRIPE_MONGODB_URL",
    r"mongodb(?:\+srv)?://…[^\s`\"]*": "DATALAYER_STRIPE_MONGODB_URL",
}


def shown_values() -> list[tuple[str, str]]:
    """Return all pairs of a variable and a value that the docs show for it."""
    found = set()
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for pattern, variable in KINDS.items():
            found |= {(variable, value) for value in re.findall(rf"\b{pattern}", text)}
        for variable, value in re.findall(r"^(DATALAYER_\w+)=(\S+)$", text, re.M):
            if variable in GOOD and "$" not in value:
                found.add((variable, value))
    return sorted(found)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in os.environ:
        if name.startswith("DATALAYER_"):
            monkeypatch.delenv(name)
    return monkeypatch


def test_docs_show_a_value_for_each_required_variable() -> None:
    assert {variable for variable, _ in shown_values()} >= set(GOOD) - {
        "DATALAYER_STRIPE_SUBSCRIPTION_PRODUCT_ID"
    }
    assert ("DATALAYER_STRIPE_WEBHOOK_SECRET", "whsec_example") in shown_values()


@pytest.mark.parametrize("kind", [Settings, JupyterSettings])
@pytest.mark.parametrize("others", [GOOD, {**GOOD, **LIVE}], ids=["test", "live"])
@pytest.mark.parametrize(("variable", "value"), shown_values())
def test_value_in_the_docs_is_refused(
    clean_environment: pytest.MonkeyPatch,
    kind: type[Settings],
    others: dict[str, str],
    variable: str,
    value: str,
) -> None:
    for name, good in others.items():
        clean_environment.setenv(name, good)
    kind.from_environment()
    # Also in a list, as while a secret is rolled, and in quotes.
    listed = {"DATALAYER_STRIPE_WEBHOOK_SECRET", "DATALAYER_STRIPE_SUBSCRIPTION_PRODUCT_ID"}
    shapes = ["{}", " '{}' ", *([f"{others[variable]}, {{}}"] if variable in listed else [])]
    for shape in shapes:
        clean_environment.setenv(variable, shape.format(value))
        with pytest.raises(SettingsError) as refusal:
            kind.from_environment()
        assert variable in {fault.variable for fault in refusal.value.faults}
        assert value not in str(refusal.value)


def test_error_names_a_placeholder_once_and_says_where_the_value_is(
    clean_environment: pytest.MonkeyPatch,
) -> None:
    for name, good in {**GOOD, "DATALAYER_STRIPE_WEBHOOK_SECRET": "whsec_example"}.items():
        clean_environment.setenv(name, good)
    with pytest.raises(SettingsError) as refusal:
        Settings.from_environment(stripe_cust_portal_id="bpc_example")
    webhook, portal = refusal.value.faults
    assert str(webhook).startswith(
        "DATALAYER_STRIPE_WEBHOOK_SECRET: is still a placeholder of the documentation. "
        "Find it in Stripe's"
    )
    assert portal.variable == "DATALAYER_STRIPE_CUST_PORTAL_ID"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATALAYER_STRIPE_WEBHOOK_SECRET", "whsec_oldExample0123456789ABCDEF"),
        ("DATALAYER_STRIPE_TOPUP_PRODUCT_ID", "prod_examples"),
        ("DATALAYER_STRIPE_CUST_PORTAL_URL", "https://example.com/login"),
        ("DATALAYER_JWT_SECRET", "an.example.of.a.secret.0123456789abcdef"),
        ("DATALAYER_STRIPE_MONGODB_URL", "mongodb://user:pass-word@db.example.com/?replicaSet=r"),
    ],
)
def test_values_similar_to_placeholders_are_accepted(
    clean_environment: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    for name, good in {**GOOD, variable: value}.items():
        clean_environment.setenv(name, good)
    Settings.from_environment()


@pytest.mark.gen_test
async def test_service_does_not_start_with_the_example_file() -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    example = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    code, _, err = await run_command("serve", "--port", "0", variables=environment(**example))
    assert code == 2
    refused = {line.partition(":")[0] for line in err.splitlines()}
    assert refused == set(GOOD)
    secret = {**GOOD, "DATALAYER_STRIPE_WEBHOOK_SECRET": "whsec_example"}
    code, _, err = await run_command("serve", "--port", "0", variables=environment(**secret))
    assert (code, err.partition(":")[0]) == (2, "DATALAYER_STRIPE_WEBHOOK_SECRET")


@pytest.mark.parametrize("value", ["whsec_x", "whsec_test", "whsec_" + "a" * 23])
def test_short_webhook_secret_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    name = "DATALAYER_STRIPE_WEBHOOK_SECRET"
    for variable, good in GOOD.items():
        monkeypatch.setenv(variable, good)
    for secrets in (value, f"{GOOD[name]},{value}"):
        monkeypatch.setenv(name, secrets)
        with pytest.raises(SettingsError) as error:
            Settings.from_environment()
        [fault] = error.value.faults
        assert (fault.variable, value in str(fault)) == (name, False)
        assert "could be guessed" in fault.problem
    monkeypatch.setenv(name, "whsec_" + "a" * 24)
    Settings.from_environment()
