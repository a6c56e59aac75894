"""Payments too recent to be checked by a reconciliation and an audit, on MongoDB."""

import json
from datetime import timedelta

import pytest

from datalayer_stripe.reconciliation.findings import Finding
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import Clock, json_of
from tests.support.audits import differences
from tests.support.command import complete, run_command
from tests.support.shop import Buyer

pytestmark = pytest.mark.mongod


@pytest.mark.gen_test
async def test_age_of_payment_is_age_of_its_charge(
    buyer: Buyer, webhooks: Webhooks, service: Service, clock: Clock
) -> None:
    await buyer.subscribe()
    webhooks.drop(1000)
    started = json_of(await buyer.ask_to_buy())
    clock.advance(minutes=10)
    buyer.sandbox.confirm_payment(started["client_secret"])
    buyer.sandbox.forget_events()
    assert await differences(service) == []
    found: list[Finding] = []
    reconciliation = service.reconciliation(dry_run=True, on_finding=found.append)
    report = await reconciliation.run(clock() - timedelta(days=1))
    assert found == []
    assert report.too_recent["payment"] == 1

    clock.advance(minutes=6)
    [difference] = await differences(service)
    assert difference.explanation == "paid, but its event was never delivered"


@pytest.mark.gen_test
async def test_commands_report_objects_too_recent_to_check(
    buyer: Buyer, webhooks: Webhooks, service: Service, mongodb_url: str
) -> None:
    variables = complete(mongodb_url, buyer.sandbox, buyer.shop)
    await buyer.subscribe()
    webhooks.drop(1000)
    await buyer.buy()
    await buyer.buy(buyer.shop.packages[1])

    code, out, _ = await run_command("audit", variables=variables)
    assert code == 0
    assert "No differences." not in out
    assert out.splitlines()[1:] == [
        "But 2 payments younger than 5 minutes were not checked.",
        "No differences in what was checked.",
    ]
    code, out, _ = await run_command("audit", "--json", variables=variables)
    assert json.loads(out)["too_recent"] == {"payment": 2}

    code, out, _ = await run_command("reconcile", "--dry-run", variables=variables)
    assert code == 0
    assert "Nothing is missing." not in out
    first, *rest = out.splitlines()
    assert first == "Nothing else is missing."
    written = " ".join(rest).replace("events and ", "")
    assert "2 payments younger than 5 minutes were not checked" in written
    code, out, _ = await run_command("reconcile", "--dry-run", "--json", variables=variables)
    assert json.loads(out)["too_recent"]["payment"] == 2
    assert json.loads(out)["findings"] == []
