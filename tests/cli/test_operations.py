"""The commands `events`, `reconcile` and `audit`, run in a process on the service's database."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from click import BadParameter

from datalayer_stripe.cli.commands.options import Since
from datalayer_stripe.reconciliation.differences import REPAIR_COMMAND
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from datalayer_stripe.store.last_runs import AUDIT, RECONCILIATION
from tests.support.app import ACCOUNT, Clock, changed, json_of, recorded
from tests.support.command import complete, run_command
from tests.support.shop import Buyer, rows

pytestmark = pytest.mark.mongod


@pytest.fixture
def variables(mongodb_url: str, buyer: Buyer) -> dict[str, str]:
    return complete(mongodb_url, buyer.sandbox, buyer.shop)


@pytest.mark.gen_test
async def test_audit_finds_and_reconcile_credits_an_undelivered_payment(
    buyer: Buyer, webhooks: Webhooks, variables: dict[str, str], clock: Clock
) -> None:
    clock.advance(minutes=-10)  # payments younger than 5 minutes are not checked
    await buyer.subscribe()
    webhooks.drop(1000)
    paid = await buyer.buy()

    code, out, _ = await run_command("audit", variables=variables)
    assert code == 3
    assert f"payment {paid['id']}: paid, but its event was never delivered" in out
    code, out, _ = await run_command("audit", "--csv", variables=variables)
    explanation = "paid, but its event was never delivered"
    assert (code, out.splitlines()) == (
        3,
        [
            "kind,id,explanation,command,repaired",
            f'payment,{paid["id"]},"{explanation}",datalayer-stripe reconcile,false',
        ],
    )

    code, out, _ = await run_command("reconcile", "--dry-run", "--since", "2h", variables=variables)
    assert code == 3
    assert paid["id"] in out
    assert "missing" in out
    assert "`datalayer-stripe reconcile` processes what is missing." in out
    assert await buyer.credits() == 0

    code, out, err = await run_command("reconcile", variables=variables)
    assert (code, err) == (0, ""), "no progress line without a terminal"
    assert "processed" in out
    assert await buyer.credits() == 50

    code, out, _ = await run_command("reconcile", "--dry-run", variables=variables)
    assert code == 0
    assert "Nothing is missing." in out

    code, out, _ = await run_command("audit", variables=variables)
    assert code == 0
    assert "No differences." in out


@pytest.mark.gen_test
async def test_complete_runs_are_recorded(
    buyer: Buyer,
    webhooks: Webhooks,
    service: Service,
    variables: dict[str, str],
    clock: Clock,
) -> None:
    last_runs, began_at = service.store.last_runs, datetime.now(UTC)
    clock.advance(minutes=-10)  # payments younger than 5 minutes are not checked
    await buyer.subscribe()
    webhooks.drop(1000)
    await buyer.buy()

    for options in (("--account", ACCOUNT), ("--since", "2h")):
        await run_command("audit", *options, variables=variables)
        assert await last_runs.get(AUDIT) is None, "the audit was not complete"
    await run_command("audit", variables=variables)
    found = await last_runs.get(AUDIT)
    assert found is not None
    assert (found.at >= began_at, found.problems) == (True, 1)

    await run_command("reconcile", "--dry-run", variables=variables)
    assert await last_runs.get(RECONCILIATION) is None, "nothing was processed"
    await run_command("reconcile", variables=variables)
    assert await last_runs.get(RECONCILIATION) is not None
    await run_command("audit", "--repair", "--yes", variables=variables)
    found = await last_runs.get(AUDIT)
    assert found is not None
    assert found.problems == 0


@pytest.mark.gen_test
async def test_audit_of_an_unknown_account_says_so(buyer: Buyer, variables: dict[str, str]) -> None:
    await buyer.subscribe()
    code, _, err = await run_command("audit", "--account", "typo", variables=variables)
    assert (code, err) == (0, "No balance is stored for typo: check the uid.\n")
    code, _, err = await run_command("audit", "--account", ACCOUNT, variables=variables)
    assert (code, err) == (0, "")


@pytest.mark.gen_test
async def test_command_says_what_to_do_when_stripe_does_not_answer(
    buyer: Buyer, variables: dict[str, str]
) -> None:
    buyer.sandbox.api.refuse(status=500, times=1000, path_prefix="/v1/")
    code, out, err = await run_command("reconcile", variables=variables)
    assert (code, out) == (2, "")
    assert "https://status.stripe.com" in err
    assert "payment provider" not in err


@pytest.mark.parametrize("options", [(), ("--json",)])
@pytest.mark.gen_test
async def test_reconcile_that_cannot_start_prints_no_report(
    variables: dict[str, str], options: tuple[str, ...]
) -> None:
    unreachable = {**variables, "DATALAYER_STRIPE_MONGODB_URL": "memory://"}
    code, out, err = await run_command("reconcile", *options, variables=unreachable)
    assert (code, out) == (2, "")
    assert "DATALAYER_STRIPE_MONGODB_URL" in err


@pytest.mark.gen_test
async def test_reconcile_that_ends_early_does_not_say_that_nothing_is_missing(
    buyer: Buyer, webhooks: Webhooks, variables: dict[str, str]
) -> None:
    await buyer.subscribe()
    await webhooks.settle()
    buyer.sandbox.api.refuse(status=500, times=1000, path_prefix="/v1/subscriptions")
    code, out, _ = await run_command("reconcile", "--json", variables=variables)
    assert code == 2
    assert json.loads(out)["complete"] is False
    code, out, _ = await run_command("reconcile", variables=variables)
    assert (code, out.splitlines()[0]) == (2, "Nothing was missing before the error.")


@pytest.mark.gen_test
async def test_events_list_show_and_replay_a_rejected_event(
    buyer: Buyer, service: Service, variables: dict[str, str]
) -> None:
    await buyer.api.deliver(recorded("payment_intent.succeeded"))
    bad = changed(recorded("payment_intent.succeeded"), id="evt_bad", amount_received=1)
    assert json_of(await buyer.api.deliver(bad))["outcome"] == "rejected"

    code, out, _ = await run_command("events", "list", "--rejected", variables=variables)
    assert code == 0
    _, row, below = out.splitlines()
    assert row.split()[2:] == ["evt_bad", "payment_intent.succeeded"]
    payment_id = json.loads(bad)["data"]["object"]["id"]
    assert below == f"    {payment_id} of account {ACCOUNT}: top-up-credits: rejected"
    code, out, _ = await run_command("events", "show", "evt_bad", variables=variables)
    record = json.loads(out)
    assert "amount_received" in record["handlers"]["top-up-credits"]["error"]
    assert "client_secret" not in out

    code, out, _ = await run_command("events", "replay", "evt_bad", variables=variables)
    assert (code, out) == (1, "evt_bad → rejected\n")
    # Correct the stored payload: a replay of a rejected event uses it.
    corrected = changed(bad, id="evt_bad", amount_received=500).decode()
    await service.store._database.events.update_one(
        {"_id": "evt_bad"}, {"$set": {"payload": corrected}}
    )
    code, out, _ = await run_command("events", "replay", "evt_bad", "evt_bad", variables=variables)
    assert (code, out) == (0, "evt_bad → processed\nevt_bad → duplicate\n")
    assert await buyer.credits() == 50, "one payment is credited once"
    stored = await service.store.events.get("evt_bad")
    assert stored is not None
    assert stored.payload is None, "the payload is deleted when no plugin needs it"


@pytest.mark.gen_test
async def test_events_are_found_by_type_account_time_and_status(
    buyer: Buyer, service: Service, clock: Clock
) -> None:
    await buyer.api.deliver(recorded("payment_intent.succeeded"))
    await buyer.api.deliver(
        changed(recorded("payment_intent.succeeded"), id="evt_bad", amount_received=1)
    )
    all_ids = ["evt_bad", "evt_1xNnthCz7hWRKLEp3Wi6nFpx"]
    for wanted, found in (
        ({}, all_ids),
        ({"event_type": "payment_intent.succeeded"}, all_ids),
        ({"event_type": "invoice.paid"}, []),
        ({"account_uid": ACCOUNT, "since": clock() - timedelta(hours=1)}, all_ids),
        ({"account_uid": "nobody"}, []),
        ({"since": clock() + timedelta(hours=1)}, []),
        ({"status": "rejected"}, ["evt_bad"]),
        ({"status": "failed"}, []),
    ):
        assert [record.id async for record in service.store.event_lists.find(**wanted)] == found, (
            wanted
        )


@pytest.mark.gen_test
async def test_replay_fetches_an_unknown_event_from_stripe(
    buyer: Buyer, webhooks: Webhooks, variables: dict[str, str]
) -> None:
    await buyer.subscribe()
    webhooks.drop(1000)
    await buyer.buy()
    lost = next(
        event
        for event in reversed(buyer.sandbox.events)
        if event["type"] == "payment_intent.succeeded"
    )
    code, out, err = await run_command("events", "show", lost["id"], variables=variables)
    assert (code, out) == (2, "")
    assert "replay" in err
    code, out, _ = await run_command(
        "events", "replay", lost["id"], "evt_unknown", variables=variables
    )
    assert out.splitlines() == [
        f"{lost['id']} → processed",
        "evt_unknown → not found in the database or at Stripe",
    ]
    assert code == 1
    assert await buyer.credits() == 50


@pytest.mark.gen_test
async def test_command_refuses_an_in_memory_database(variables: dict[str, str]) -> None:
    variables = {**variables, "DATALAYER_STRIPE_MONGODB_URL": "memory://"}
    code, _, err = await run_command("events", "list", variables=variables)
    assert code == 2
    assert err.startswith("DATALAYER_STRIPE_MONGODB_URL")


def test_since_accepts_lengths_of_time_dates_and_datetimes() -> None:
    since = Since()
    assert since.convert("2026-11-01", None, None).isoformat() == "2026-11-01T00:00:00+00:00"
    assert since.convert("2026-11-01T12:00+02:00", None, None).hour == 12
    week = since.convert("1w", None, None)
    assert 0 < (since.convert("6d", None, None) - week).total_seconds() - 86400 < 5
    with pytest.raises(BadParameter, match="30d"):
        since.convert("yesterday", None, None)


@pytest.mark.gen_test
async def test_events_list_of_an_account_includes_its_refunds_and_disputes(
    buyer: Buyer, stranger: Buyer, webhooks: Webhooks, variables: dict[str, str]
) -> None:
    for one in (buyer, stranger):
        await one.subscribe()
        refunded = await one.buy()
        one.sandbox.refund(refunded["id"])
        one.sandbox.dispute((await one.buy())["id"])
        await webhooks.settle()
    own = {one["id"] for one in buyer.sandbox.objects if one["object"] in ("refund", "dispute")}

    arguments = ("events", "list", "--account", ACCOUNT)
    code, out, _ = await run_command(*arguments, "--json", variables=variables)
    assert code == 0
    listed = json.loads(out)
    types = {one["type"].rpartition(".")[0] for one in listed}
    assert {"charge.dispute", "refund", "payment_intent"} <= types
    reversals = [one for one in listed if one["object_id"] in own]
    assert len({one["object_id"] for one in reversals}) == 2, "only those of this account"
    assert "payload" not in listed[0]

    code, out, _ = await run_command(*arguments, variables=variables)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 100


@pytest.mark.gen_test
async def test_events_list_marks_a_run_that_wrote_nothing(
    buyer: Buyer, variables: dict[str, str]
) -> None:
    foreign = changed(recorded("payment_intent.succeeded"), id="evt_foreign", metadata={})
    await buyer.api.deliver(foreign)
    await buyer.api.deliver(recorded("payment_intent.succeeded"))
    _, out, _ = await run_command("events", "list", variables=variables)
    assert "top-up-credits: done, nothing to write\n" in out
    assert "top-up-credits: done\n" in out


@pytest.mark.gen_test
async def test_audit_is_limited_to_an_account_and_a_time(
    buyer: Buyer,
    stranger: Buyer,
    webhooks: Webhooks,
    service: Service,
    clock: Clock,
    variables: dict[str, str],
) -> None:
    clock.advance(days=-3)
    for one in (buyer, stranger):
        await one.subscribe()
    paid = await buyer.buy()
    await stranger.buy()
    await service.store._database.ledger.delete_many({})
    await service.store._database.accounts.update_one({"_id": ACCOUNT}, {"$set": {"credits": 0}})

    arguments = ("audit", "--account", ACCOUNT, "--json")
    code, out, _ = await run_command(*arguments, variables=variables)
    assert code == 3
    [difference] = json.loads(out)["differences"]
    assert (difference["id"], difference["command"]) == (paid["id"], REPAIR_COMMAND)

    code, out, _ = await run_command(*arguments, "--since", "1d", variables=variables)
    assert (code, json.loads(out)["differences"]) == (0, [])

    await run_command("audit", "--account", ACCOUNT, "--repair", "--yes", variables=variables)
    assert await buyer.credits() == 50
    assert len(await rows(service, "ledger")) == 1, "the other account is not repaired"
