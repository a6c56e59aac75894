"""The command that the audit prints repairs each kind of corruption, on MongoDB."""

import asyncio
import re
import shlex
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from datalayer_stripe.errors import Forbidden
from datalayer_stripe.reconciliation.differences import REPAIR_COMMAND
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import ACCOUNT, Clock
from tests.support.audits import differences, repair
from tests.support.command import complete, run_command
from tests.support.shop import OTHER_ACCOUNT, Buyer, rows

pytestmark = [pytest.mark.mongod, pytest.mark.slow]

Corrupt = Callable[[Any, dict[str, str]], Awaitable[object]]


async def set_on_ledger(database: Any, row_id: str, **fields: Any) -> None:
    await database.ledger.update_one({"_id": row_id}, {"$set": fields})


async def copy_row(database: Any, row_id: str, **fields: Any) -> None:
    row = await database.ledger.find_one({"_id": row_id})
    for name in ("reversals", "open_disputes", "ticket", "written_ticket"):
        row.pop(name, None)
    await database.ledger.insert_one({**row, **fields})


async def delete_row_and_credits(database: Any, row_id: str) -> None:
    row = await database.ledger.find_one_and_delete({"_id": row_id})
    await database.accounts.update_one({"_id": ACCOUNT}, {"$inc": {"credits": -row["credits"]}})


async def forget_reversal(database: Any, row_id: str) -> None:
    row = await database.ledger.find_one_and_delete({"_id": row_id})
    await database.ledger.update_one(
        {"_id": row["reverses"]}, {"$unset": {"reversals": "", "open_disputes": ""}}
    )


# Each function gets the database and the ids of `paid`, `refunded`, `refund`, `disputed` and
# `dispute`.
CORRUPTIONS: dict[str, Corrupt] = {
    "top_up_row_deleted": lambda db, ids: db.ledger.delete_one({"_id": ids["paid"]}),
    "top_up_row_and_its_credits_deleted": lambda db, ids: delete_row_and_credits(db, ids["paid"]),
    "refunded_top_up_row_deleted": lambda db, ids: db.ledger.delete_one({"_id": ids["refunded"]}),
    "refund_row_deleted": lambda db, ids: db.ledger.delete_one({"_id": ids["refund"]}),
    "refund_row_and_its_credits_deleted": lambda db, ids: delete_row_and_credits(db, ids["refund"]),
    "dispute_row_deleted": lambda db, ids: db.ledger.delete_one({"_id": ids["dispute"]}),
    "refund_row_and_its_state_deleted": lambda db, ids: forget_reversal(db, ids["refund"]),
    "dispute_row_and_its_state_deleted": lambda db, ids: forget_reversal(db, ids["dispute"]),
    "dispute_no_longer_open": lambda db, ids: db.ledger.update_one(
        {"_id": ids["disputed"]}, {"$unset": {"open_disputes": ""}}
    ),
    "balance_changed": lambda db, _: db.accounts.update_one(
        {"_id": ACCOUNT}, {"$inc": {"credits": 7}}
    ),
    "debt_changed": lambda db, _: db.accounts.update_one({"_id": ACCOUNT}, {"$set": {"debt": 40}}),
    "account_deleted": lambda db, _: db.accounts.delete_one({"_id": ACCOUNT}),
    "account_that_has_no_ledger": lambda db, _: db.accounts.insert_one(
        {"_id": "gift", "credits": 5}
    ),
    "row_of_an_unknown_kind": lambda db, ids: copy_row(db, ids["paid"], _id="gift_1", kind="gift"),
    "top_up_row_of_an_unknown_kind": lambda db, ids: set_on_ledger(db, ids["paid"], kind="gift"),
    "refund_row_of_an_unknown_kind": lambda db, ids: set_on_ledger(db, ids["refund"], kind="gift"),
    "top_up_row_of_kind_debt": lambda db, ids: set_on_ledger(db, ids["paid"], kind="debt"),
    "row_without_a_payment_at_stripe": lambda db, ids: copy_row(db, ids["paid"], _id="pi_made_up"),
    "row_without_a_refund_at_stripe": lambda db, ids: copy_row(db, ids["refund"], _id="re_made_up"),
    "top_up_row_with_other_credits": lambda db, ids: set_on_ledger(db, ids["paid"], credits=5000),
    "top_up_row_with_another_amount": lambda db, ids: set_on_ledger(db, ids["paid"], amount=1),
    "top_up_row_in_another_currency": lambda db, ids: set_on_ledger(
        db, ids["paid"], currency="eur"
    ),
    "top_up_row_of_another_account": lambda db, ids: set_on_ledger(
        db, ids["paid"], account_uid=OTHER_ACCOUNT
    ),
    "disputed_top_up_row_of_another_account": lambda db, ids: set_on_ledger(
        db, ids["disputed"], account_uid=OTHER_ACCOUNT
    ),
    "refunded_top_up_row_with_other_credits": lambda db, ids: set_on_ledger(
        db, ids["refunded"], credits=100
    ),
    "refund_row_with_other_credits": lambda db, ids: set_on_ledger(db, ids["refund"], credits=-1),
    "refund_row_with_another_amount": lambda db, ids: set_on_ledger(db, ids["refund"], amount=-1),
    "refund_row_of_another_account": lambda db, ids: set_on_ledger(
        db, ids["refund"], account_uid=OTHER_ACCOUNT
    ),
}


async def create_payments(buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks) -> dict[str, str]:
    """Buy three packages, refund one in part, and dispute one."""
    await buyer.subscribe()
    paid, refunded, disputed = [(await buyer.buy())["id"] for _ in range(3)]
    refund, dispute = sandbox.refund(refunded, 100)["id"], sandbox.dispute(disputed)["id"]
    await webhooks.settle()
    return {
        "paid": paid,
        "refunded": refunded,
        "refund": refund,
        "disputed": disputed,
        "dispute": dispute,
    }


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.gen_test
async def test_audit_names_the_command_that_repairs_each_corruption(
    name: str, buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service, clock: Clock
) -> None:
    ids = await create_payments(buyer, sandbox, webhooks)
    clock.advance(minutes=6)
    assert await differences(service) == []
    assert await buyer.credits() == 90

    await CORRUPTIONS[name](service.store._database, ids)
    before = await movements(service)
    found = await differences(service)
    assert found, "a corruption is a difference"
    assert {one.command for one in found} == {REPAIR_COMMAND}

    await repair(service, found)
    assert await differences(service) == []
    assert await buyer.credits() == 90
    assert await service.store.reversals.has_open_dispute(ACCOUNT)
    assert not await service.store.reversals.has_open_dispute(OTHER_ACCOUNT)
    after = await movements(service)
    assert before.items() <= after.items(), "no row is changed or deleted"
    for row_id in after.keys() - before.keys():
        row = await service.store._database.ledger.find_one({"_id": row_id})
        assert row["reason"].startswith("audit")

    await repair(service, found)
    assert await movements(service) == after, "a second repair adds nothing"


@pytest.mark.gen_test
async def test_repaired_payment_is_seen_by_its_payer_only(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service, clock: Clock
) -> None:
    paid = (await create_payments(buyer, sandbox, webhooks))["paid"]
    clock.advance(minutes=6)
    await service.history.page(ACCOUNT, limit=50, cursor=None)  # stores the receipts
    await set_on_ledger(service.store._database, paid, account_uid=OTHER_ACCOUNT, credits=7)
    await repair(service, await differences(service))
    status = await service.topup_statuses.of(ACCOUNT, paid)
    assert (status.credited, status.credits) == (True, 50)
    with pytest.raises(Forbidden):
        await service.topup_statuses.of(OTHER_ACCOUNT, paid)
    history = await service.history.page(OTHER_ACCOUNT, limit=50, cursor=None)
    [row] = [one for one in history.entries if one.id == paid]
    assert row.receipt_url is None, "it names the payer"


async def movements(service: Service) -> dict[str, tuple[Any, ...]]:
    """Return the fields of each ledger row that no repair may change."""
    fields = ("account_uid", "kind", "credits", "amount", "currency", "created_at", "event_id")
    return {
        row["_id"]: tuple(row[name] for name in fields) for row in await rows(service, "ledger")
    }


@pytest.mark.parametrize("name", ["top_up_row_with_other_credits", "refund_row_deleted"])
@pytest.mark.gen_test
async def test_later_refunds_of_repaired_payment_take_right_credits(
    name: str, buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service, clock: Clock
) -> None:
    ids = await create_payments(buyer, sandbox, webhooks)
    clock.advance(minutes=6)
    await CORRUPTIONS[name](service.store._database, ids)
    await repair(service, await differences(service))
    sandbox.refund(ids["paid"])
    sandbox.refund(ids["refunded"], 400)
    sandbox.close_dispute(ids["dispute"], won=True)
    await webhooks.settle()
    clock.advance(minutes=6)
    assert await buyer.credits() == 50
    assert await differences(service) == []


@pytest.mark.gen_test
async def test_repairs_concurrent_with_deliveries_repair_once(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service, clock: Clock
) -> None:
    ids = await create_payments(buyer, sandbox, webhooks)
    clock.advance(minutes=6)
    database = service.store._database
    for name in (
        "top_up_row_and_its_credits_deleted",
        "refund_row_deleted",
        "row_of_an_unknown_kind",
        "balance_changed",
    ):
        if name == "row_of_an_unknown_kind":
            await copy_row(database, ids["refunded"], _id="gift_1", kind="gift")
        else:
            await CORRUPTIONS[name](database, ids)
    found = await differences(service)
    sandbox.refund(ids["refunded"], 100)
    await asyncio.gather(*(repair(service, found) for _ in range(4)), buyer.buy())
    await webhooks.settle()
    clock.advance(minutes=6)
    await repair(service, await differences(service))
    assert await differences(service) == []
    assert await buyer.credits() == 130


@pytest.mark.gen_test
async def test_printed_command_repairs_deleted_row(
    buyer: Buyer,
    sandbox: Sandbox,
    webhooks: Webhooks,
    service: Service,
    clock: Clock,
    mongodb_url: str,
) -> None:
    clock.advance(minutes=-10)
    variables = complete(mongodb_url, sandbox, buyer.shop)
    await buyer.subscribe()
    paid = (await buyer.buy())["id"]
    await service.store._database.ledger.delete_one({"_id": paid})

    code, out, _ = await run_command("reconcile", "--dry-run", variables=variables)
    assert code == 3
    assert "Nothing is missing" not in out
    assert paid in out

    code, out, _ = await run_command("audit", variables=variables)
    assert code == 3
    assert f"payment {paid}: paid and its event " in out
    commands = set(re.findall(r"to correct it: (.*)", out))
    assert commands == {REPAIR_COMMAND}

    code, out, _ = await run_command("audit", "--repair", variables=variables)
    assert code == 3
    assert "Nothing was changed" in out
    assert await rows(service, "ledger") == []

    [command] = commands
    code, out, _ = await run_command(*shlex.split(command)[1:], variables=variables)
    assert (code, out.splitlines()[-1]) == (0, "2 differences, 2 repaired.")
    code, out, _ = await run_command("audit", variables=variables)
    assert (code, out.splitlines()[-1]) == (0, "No differences.")
    assert await buyer.credits() == 50


@pytest.mark.gen_test
async def test_repair_of_recent_payment_does_not_reduce_credits(
    buyer: Buyer, webhooks: Webhooks, service: Service
) -> None:
    await buyer.subscribe()
    await buyer.buy()
    paid = (await buyer.buy())["id"]
    await service.store._database.ledger.delete_one({"_id": paid})
    found = await differences(service)
    assert {one.kind for one in found} == {"balance", "payment"}
    await repair(service, found)
    assert await buyer.credits() == 100
    assert await differences(service) == []
