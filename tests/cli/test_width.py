"""The output of commands fits a terminal of 80 columns, with ids as long as Stripe's."""

from pathlib import Path

import pytest

from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.administration.documents import event
from tests.support.app import ACCOUNT, Clock, json_of
from tests.support.command import complete, run_command
from tests.support.shop import Buyer, insert

COLUMNS = 80

WEBHOOK = "http://127.0.0.1:9/api/iam/stripe/v1/webhook"

COMMANDS = (
    "accounts list",
    f"accounts show {ACCOUNT}",
    "audit",
    "audit --repair",
    "customers import {folder}/customers.csv",
    "customers sync --dry-run",
    "doctor",
    "events list",
    "events list --rejected",
    f"events replay {{rejected}} evt_{'U' * 24}",
    "plugins list",
    "reconcile --dry-run",
    "report --days 3",
    "setup --dry-run --env-file {folder}/new.env --url https://billing.example.com",
    "token alice",
    f"webhook sync --dry-run --url {WEBHOOK}",
    f"webhook test --url {WEBHOOK}",
)


async def rejected_payment(buyer: Buyer, webhooks: Webhooks, service: Service) -> str:
    """Pay with metadata that lack account and credits, and return the id of the rejected event."""
    answer = json_of(await buyer.ask_to_buy())
    intent = buyer.sandbox.get(answer["client_secret"].partition("_secret")[0])
    buyer.sandbox.put({**intent, "metadata": {**intent["metadata"], "credits": "many"}})
    buyer.sandbox.confirm_payment(intent["client_secret"])
    await webhooks.settle()
    kept = await service.store.events.of_object(intent["id"], "payment_intent.succeeded")
    assert kept is not None
    return kept.id


async def trade(buyer: Buyer, webhooks: Webhooks, service: Service) -> str:
    """Let an account do what commands print, and return the id of a rejected event."""
    await buyer.subscribe()
    refunded, disputed = await buyer.buy(), await buyer.buy()
    buyer.sandbox.refund(refunded["id"], amount=250)
    buyer.sandbox.dispute(disputed["id"])
    await webhooks.settle()
    rejected = await rejected_payment(buyer, webhooks, service)
    await service.store.accounts.describe(ACCOUNT, handle="a" * 60, email="ada@example.com")
    long = {"type": "customer.subscription.pending_update_applied", "account_uid": ACCOUNT}
    await insert(
        service,
        "events",
        event(f"evt_{'L' * 24}", object_id=f"sub_{'L' * 24}", failed=["mailer"], **long),
    )
    webhooks.drop(1000)
    await buyer.buy()
    return rejected


def too_wide(text: str) -> list[str]:
    """Return the lines that are too wide, but those of a single URL or token to be copied."""
    return [line for line in text.splitlines() if len(line) > COLUMNS and " " in line.strip()]


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_no_line_is_wider_than_the_terminal(
    buyer: Buyer,
    webhooks: Webhooks,
    service: Service,
    mongodb_url: str,
    clock: Clock,
    tmp_path: Path,
) -> None:
    clock.advance(minutes=-10)  # payments younger than 5 minutes are not checked
    rejected = await trade(buyer, webhooks, service)
    endpoint = {"url": WEBHOOK, "enabled_events": ["invoice.paid"]}
    buyer.sandbox.call("POST", "/v1/webhook_endpoints", **endpoint)
    uids, customers = ("01JCZ" + "X" * 21, ACCOUNT), ("cus_" + "X" * 14, "cus_unknown")
    rows = "".join(f"{uid},{customer}\n" for uid in uids for customer in customers)
    (tmp_path / "customers.csv").write_text(f"account_uid,customer_id\n{rows}bad line\n", "utf-8")
    variables = complete(mongodb_url, buyer.sandbox, buyer.shop) | {"COLUMNS": str(COLUMNS)}
    wide = {}
    for command in COMMANDS:
        words = command.format(folder=tmp_path, rejected=rejected).split()
        _, out, err = await run_command(*words, variables=variables)
        wide[command] = too_wide(out)
        assert out, (command, err)
    assert {command: lines for command, lines in wide.items() if lines} == {}
