"""Parameters and fields that Stripe documents."""

import json
from typing import Any

import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox, StripeError
from datalayer_stripe.sandbox.actions import SandboxActions
from datalayer_stripe.sandbox.api import params as p
from datalayer_stripe.sandbox.api.documented import FILE, accept, changes_of
from tests.sandbox.conftest import Shop
from tests.support.stripe_documented import document


def test_file_has_what_the_installed_sdk_declares() -> None:
    assert FILE.read_text() == document(), "run `make documented`"


def sample(kind: Any) -> Any:
    """Return a value of a documented type."""
    if isinstance(kind, list):
        return [sample(kind[0])]
    if isinstance(kind, dict):
        return {key.removesuffix("?"): sample(inner) for key, inner in kind.items()}
    return {"boolean": True, "map": {"a": "b"}, "string": "card"}.get(kind, 1)


PARAMETERS = json.loads(FILE.read_text())["parameters"]


@pytest.mark.parametrize("operation", PARAMETERS)
def test_no_documented_parameter_is_unknown(operation: str) -> None:
    sandbox = SandboxActions(seed=1)  # its objects are not validated: the values are not Stripe's
    method, path = operation.split()
    for key, kind in PARAMETERS[operation].items():
        params = {key.removesuffix("?"): sample(kind)}
        try:
            sandbox.call(method, path.replace("{id}", "none"), **params)
        except StripeError as error:
            assert error.error.get("code") != "parameter_unknown", error  # noqa: PT017


@pytest.mark.gen_test
async def test_documented_parameters_are_stored_in_the_field_of_their_name(
    client: stripe.StripeClient, shop: Shop
) -> None:
    settings = {"footer": "Thanks", "rendering_options": {"amount_tax_display": "exclude_tax"}}
    changed = await client.v1.customers.update_async(
        shop.customer,
        {
            "balance": -500,
            "invoice_settings": settings,
            "preferred_locales": ["fr", "en"],
            "shipping": {"name": "Ada", "address": {"line1": "1 Main St"}},
            "tax": {"ip_address": "192.0.2.1"},
        },
    )
    assert "tax" not in changed.to_dict(), "Stripe includes it only when asked"
    assert (changed.balance, changed.preferred_locales) == (-500, ["fr", "en"])
    assert changed.shipping.to_dict() == {"name": "Ada", "address": {"line1": "1 Main St"}}
    assert changed.invoice_settings.to_dict() == {
        "custom_fields": None,
        "default_payment_method": None,
        **settings,
    }
    cleared = await client.v1.customers.update_async(shop.customer, {"shipping": ""})
    assert (cleared.shipping, cleared.balance) == (None, -500)


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"balanc": 1}, "parameter_unknown", "balanc"),
        ({"shipping": {"addres": {}}}, "parameter_unknown", "shipping[addres]"),
        ({"balance": "much"}, "parameter_invalid_integer", "balance"),
        ({"tax": "high"}, None, "tax"),
        ({"invoice_settings": ""}, "parameter_invalid_empty", "invoice_settings"),
    ],
)
def test_unknown_names_and_wrong_types_are_errors(
    sandbox: Sandbox, params: dict[str, Any], code: str | None, param: str
) -> None:
    with pytest.raises(StripeError) as caught:
        sandbox.create_customer(**params)
    assert (caught.value.error.get("code"), caught.value.error["param"]) == (code, param)


def test_sandbox_reads_the_parameters_that_it_acts_on_by_itself() -> None:
    fields = accept("POST /v1/payment_intents", {"capture_method": p.choice("automatic")})
    raw = {"capture_method": "manual", "amount": "100", "currency": "usd"}
    with pytest.raises(StripeError, match="must be one of automatic"):
        p.read(raw, fields)
    assert p.read({"application_fee_amount": "5"}, fields) == {"application_fee_amount": 5}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("balance", "5"),  # the field is an integer
        ("balance", True),
        ("preferred_locales", [1]),
        ("shipping", {"unheard_of": "x"}),
        ("object", 5),
    ],
)
def test_value_of_another_type_is_not_stored(sandbox: Sandbox, name: str, value: Any) -> None:
    assert changes_of(sandbox.create_customer(), {name: value}) == {}
