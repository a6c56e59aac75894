"""The permissions of restricted keys: what the calls need, and what a refusal names."""

import logging
import re
from pathlib import Path

import pytest
import stripe
from tornado.ioloop import IOLoop

from datalayer_stripe.errors import (
    StripeKeyRefused,
    StripePermissionMissing,
    StripeUnavailable,
)
from datalayer_stripe.metrics import Metrics
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.stripe_api.client import StripeClient
from datalayer_stripe.stripe_api.permissions import (
    named_permission,
    permission_label,
    permissions_for,
    service_permissions,
)

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("message", "permission"),
    [
        (
            "The provided key 'rk_test_*****abcdef' does not have the required permissions for "
            "this endpoint on account 'acct_1'. Having the 'rak_webhook_write' permission would "
            "allow this request to continue.",
            "webhook_write",
        ),
        (
            "Permission denied. The provided key 'rk_test_...wxyz' does not have the required "
            "permissions for this endpoint on account 'acct_1'. Enabling Invoices Read "
            "('invoice_read') permissions on this key would allow this request to continue.",
            "invoice_read",
        ),
        ("Your account cannot make live charges.", None),
        ("", None),
    ],
)
def test_permission_is_read_from_stripes_messages(message: str, permission: str | None) -> None:
    assert named_permission(stripe.PermissionError(message, http_status=403)) == permission


def test_label_is_that_of_the_dashboard() -> None:
    assert permission_label("webhook_write") == "Webhook Endpoints: Write"
    assert permission_label("plan_read") == "Prices: Read"
    assert permission_label("some_new_thing_read") == "Some new thing: Read"


@pytest.mark.gen_test
async def test_lacking_permission_raises_an_error_that_names_it(
    io_loop: IOLoop, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    key = sandbox.create_restricted_key(["product_read"])
    client = StripeClient(key, metrics=Metrics(), api_base=sandbox.url)
    with pytest.raises(StripePermissionMissing) as raised:
        await client.retrieve_price("price_1")
    await client.close()
    error = raised.value
    assert (error.permission, error.operation) == ("plan_read", "prices.retrieve")
    assert "key" not in error.message, "people who buy are told that Stripe is unavailable"
    assert isinstance(error, StripeUnavailable)
    [line] = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert "prices.retrieve" in line.getMessage()
    assert line.permission == "plan_read"  # type: ignore[attr-defined]
    assert key not in caplog.text


@pytest.mark.gen_test
async def test_wrong_key_is_no_lacking_permission(io_loop: IOLoop, sandbox: Sandbox) -> None:
    client = StripeClient("sk_test_wrong", metrics=Metrics(), api_base=sandbox.url)
    with pytest.raises(StripeKeyRefused) as raised:
        await client.retrieve_price("price_1")
    await client.close()
    assert not isinstance(raised.value, StripePermissionMissing)


def test_documented_permissions_are_those_of_the_calls() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    section = text.partition("### Restricted keys")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", section, re.MULTILINE)
    assert dict(rows) == {one: permission_label(one) for one in service_permissions()}
    assert "`webhook_write` (Webhook Endpoints: Write)" in section


def test_permission_to_write_includes_reading() -> None:
    assert permissions_for(["customers.list", "customers.create", "events.list"]) == [
        "customer_write",
        "event_read",
    ]
