"""The commands `report`, `accounts` and `events list` show what the operator's routes answer."""

import csv
import io
import json
from typing import Any

import pytest

from datalayer_stripe.currencies import amount_text
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.administration.documents import event, job
from tests.support.app import ACCOUNT, changed, json_of, recorded
from tests.support.command import complete, run_command
from tests.support.shop import Buyer, insert

ADMIN = "/api/iam/stripe/v1/admin"


@pytest.fixture
def variables(mongodb_url: str, buyer: Buyer) -> dict[str, str]:
    return complete(mongodb_url, buyer.sandbox, buyer.shop)


async def trade(buyer: Buyer, webhooks: Webhooks, service: Service) -> None:
    """Buy twice, refund a part, reject a payment and defer work."""
    await buyer.subscribe()
    first, _ = await buyer.buy(), await buyer.buy()
    buyer.sandbox.refund(first["id"], amount=250)
    await webhooks.settle()
    bad = changed(recorded("payment_intent.succeeded"), id="evt_bad", amount_received=1)
    await buyer.api.deliver(bad)
    await insert(service, "events", event("evt_later", account_uid="b"))
    await insert(service, "jobs", job("evt_later", "slow"))
    await service.store.accounts.describe(ACCOUNT, handle="ada", email="ada@example.com")


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_commands_print_what_the_routes_answer(
    buyer: Buyer, webhooks: Webhooks, service: Service, variables: dict[str, str]
) -> None:
    await trade(buyer, webhooks, service)

    async def printed(*arguments: str) -> str:
        code, out, err = await run_command(*arguments, variables=variables)
        assert (code, err) == (0, ""), arguments
        return out

    async def answered(path: str) -> Any:
        answer = json_of(await buyer.api.get_as_operator(f"{ADMIN}/{path}"))
        return {name: value for name, value in answer.items() if name != "success"}

    listed, deferred = ("events", "list"), ("events", "list", "--deferred")
    story = ("accounts", "show", ACCOUNT)
    texts = {
        "report": ("report", "--days", "3"),
        "accounts": ("accounts", "list", "--query", "ad"),
        "story": (*story, "--limit", "2"),
        "deferred": deferred,
    }
    kinds = [*texts, "report csv", "accounts csv", "story csv"]
    commands = [*texts.values(), *((*texts[one.split()[0]], "--csv") for one in kinds[4:])]
    shown = {name: await printed(*command) for name, command in zip(kinds, commands, strict=True)}
    for text in (shown[name] for name in texts):
        assert max(map(len, text.splitlines())) <= 100, text

    assert json.loads(await printed("report", "--days", "3", "--json")) == await answered(
        "overview?days=3"
    )
    assert "Open now: 0 failed events, 1 rejected, 1 deferred job." in shown["report"]
    assert "10.00 USD" in shown["report"]
    assert "Money that went back: 2.50 USD." in shown["report"]
    today = rows_of(shown["report csv"])[-1]
    assert (today["credits_sold"], today["credits_refunded"]) == ("100", "25")
    assert today["amounts"] == "usd=1000"

    found = json.loads(await printed(*texts["accounts"], "--json"))
    assert found == (await answered("accounts?query=ad"))["accounts"]
    assert [one["account_uid"] for one in found] == [ACCOUNT]
    assert rows_of(shown["accounts csv"])[0]["handle"] == "ada"

    assert json.loads(await printed(*story, "--json")) == await answered(
        f"accounts/{ACCOUNT}?limit=20"
    )
    assert f"{ACCOUNT} (ada, ada@example.com)\n75 credits" in shown["story"]
    assert "The newest 2. --limit shows more, up to 1,000." in shown["story"]
    assert [row["kind"] for row in rows_of(shown["story csv"])] == ["refund", "top-up"]

    assert json.loads(await printed(*listed, "--json")) == (await answered("events"))["events"]
    assert "evt_later" in shown["deferred"]
    assert "evt_bad" not in shown["deferred"]


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_commands_say_what_is_wrong(buyer: Buyer, variables: dict[str, str]) -> None:
    code, out, err = await run_command("accounts", "show", "nobody", variables=variables)
    assert (code, out, err) == (2, "", "Nothing is known of this account.\n")
    code, out, _ = await run_command("accounts", "list", "--query", "x", variables=variables)
    assert (code, out) == (0, "No matching accounts.\n")
    for options in (("--failed", "--deferred"), ("--deferred", "--type", "invoice.paid")):
        code, _, err = await run_command("events", "list", *options, variables=variables)
        assert code == 2
        assert "--deferred" in err


def test_amount_has_the_digits_of_its_currency() -> None:
    assert amount_text(123456, "usd") == "1,234.56 USD"
    assert amount_text(-2900, "jpy") == "-2,900 JPY"
    assert amount_text(1, "kwd") == "0.001 KWD"
