"""A rejected payment that an operator accepts by hand, on a real MongoDB."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from datalayer_stripe.errors import AcceptanceRefused, ExpectationFailed, StoreUnavailable
from datalayer_stripe.reconciliation.repair import Repairs
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import ACCOUNT, Clock, json_of
from tests.support.audits import differences
from tests.support.command import complete, run_command
from tests.support.shop import Buyer, rows

pytestmark = pytest.mark.mongod


async def rejected_payment(
    buyer: Buyer, webhooks: Webhooks, service: Service, metadata: dict[str, str] | None = None
) -> tuple[str, str]:
    """Pay for a package with other metadata than ours; return the payment's and event's ids."""
    await buyer.subscribe()
    intent = buyer.sandbox.get(
        json_of(await buyer.ask_to_buy())["client_secret"].partition("_secret")[0]
    )
    changed = {**intent["metadata"], "credits": "many"} if metadata is None else metadata
    buyer.sandbox.put({**intent, "metadata": changed})
    buyer.sandbox.confirm_payment(intent["client_secret"])
    await webhooks.settle()
    assert await buyer.credits() == 0
    kept = await service.store.events.of_object(intent["id"], "payment_intent.succeeded")
    assert kept is not None
    return intent["id"], kept.id


@pytest.mark.gen_test
async def test_accepted_payment_is_credited_once_with_its_reason(
    buyer: Buyer, webhooks: Webhooks, service: Service, clock: Clock
) -> None:
    payment_id, event_id = await rejected_payment(buyer, webhooks, service)
    clock.advance(minutes=6)
    [found] = await differences(service)
    command = f'datalayer-stripe events accept {event_id} --reason "…"'
    assert found.command == f"{command} --credits N"

    acceptance = service.acceptance()
    done = await asyncio.gather(
        *(acceptance.accept(event_id, "checked by hand", credits=50) for _ in range(4))
    )
    assert sum(one.is_new for one in done) == 1
    assert await buyer.credits() == 50
    [row] = await rows(service, "ledger")
    assert (row["_id"], row["reason"]) == (payment_id, "accepted: checked by hand")
    assert row["event_id"] == event_id
    assert await differences(service) == []
    assert [one async for one in service.store.event_lists.find(status="rejected")] == []
    assert (await service.processor.replay(event_id)).outcome == "duplicate"
    assert await buyer.credits() == 50


@pytest.mark.gen_test
async def test_row_of_another_process_is_awaited_until_a_majority_has_it(
    buyer: Buyer, webhooks: Webhooks, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, event_id = await rejected_payment(buyer, webhooks, service)
    repair, by_ids, reads = service.store.repair, service.store.ledger.by_ids, []

    async def repair_after_another_process(operation: Any) -> None:
        await repair(operation)
        raise ExpectationFailed

    async def read_late(ids: Any) -> Any:
        reads.append(ids)
        return {} if len(reads) < 4 else await by_ids(ids)

    monkeypatch.setattr(service.store, "repair", repair_after_another_process)
    monkeypatch.setattr(service.store.ledger, "by_ids", read_late)
    done = await service.acceptance().accept(event_id, "checked by hand", credits=50)
    assert not done.is_new
    assert len(reads) == 4


@pytest.mark.gen_test
async def test_accepted_payment_with_partial_refund_gives_remaining_credits(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service, clock: Clock
) -> None:
    payment_id, event_id = await rejected_payment(buyer, webhooks, service)
    sandbox.refund(payment_id, 100)
    await webhooks.settle()
    await service.acceptance().accept(event_id, "checked by hand", credits=50)
    assert await buyer.credits() == 40
    clock.advance(minutes=6)
    await service.reconciliation().run(clock() - timedelta(days=30))
    assert await buyer.credits() == 40
    assert await differences(service) == []


@pytest.mark.gen_test
async def test_audit_advises_the_options_that_the_metadata_lack(
    buyer: Buyer, webhooks: Webhooks, service: Service, clock: Clock
) -> None:
    _, event_id = await rejected_payment(
        buyer, webhooks, service, metadata={"price_id": "price_1", "credits": "50"}
    )
    clock.advance(minutes=6)
    [found] = await differences(service)
    command = f'datalayer-stripe events accept {event_id} --reason "…" --account UID'
    assert found.command == command
    done = await service.acceptance().accept(event_id, "checked by hand", account_uid=ACCOUNT)
    assert (done.is_new, await buyer.credits()) == (True, 50)


@pytest.mark.gen_test
async def test_payment_of_another_system_needs_account_and_credits(
    buyer: Buyer, webhooks: Webhooks, service: Service, clock: Clock
) -> None:
    _, event_id = await rejected_payment(buyer, webhooks, service, metadata={})
    acceptance = service.acceptance()
    with pytest.raises(AcceptanceRefused, match="--account"):
        await acceptance.accept(event_id, "paid by transfer", credits=50)
    with pytest.raises(AcceptanceRefused, match="--credits"):
        await acceptance.accept(event_id, "paid by transfer", account_uid=ACCOUNT)
    await acceptance.accept(event_id, "paid by transfer", account_uid=ACCOUNT, credits=70)
    assert await buyer.credits() == 70
    clock.advance(minutes=6)
    assert await differences(service) == []


@pytest.mark.gen_test
async def test_accept_cannot_override_stripe(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service
) -> None:
    payment_id, event_id = await rejected_payment(buyer, webhooks, service)
    acceptance = service.acceptance()
    with pytest.raises(AcceptanceRefused, match="the metadata at Stripe says"):
        await acceptance.accept(event_id, "why", account_uid="another", credits=50)
    with pytest.raises(AcceptanceRefused, match="credits"):
        await acceptance.accept(event_id, "why", credits=10_000_001)
    intent = sandbox.get(payment_id)
    sandbox.put({**intent, "status": "requires_payment_method"})
    with pytest.raises(AcceptanceRefused, match="is not paid"):
        await acceptance.accept(event_id, "why", credits=50)
    sandbox.put(intent)
    sandbox.refund(payment_id)
    with pytest.raises(AcceptanceRefused, match="refunded in full"):
        await acceptance.accept(event_id, "why", credits=50)
    assert await rows(service, "ledger") == []


@pytest.mark.gen_test
async def test_accept_refuses_payment_that_was_not_rejected(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service
) -> None:
    await buyer.subscribe()
    webhooks.drop(1000)
    await buyer.buy()
    [event] = [one for one in sandbox.events if one["type"] == "payment_intent.succeeded"][-1:]
    with pytest.raises(AcceptanceRefused, match="events replay"):
        await service.acceptance().accept(event["id"], "why")
    with pytest.raises(AcceptanceRefused, match="is not a payment_intent"):
        await service.acceptance().accept(sandbox.events[0]["id"], "why")
    assert await rows(service, "ledger") == []


@pytest.mark.gen_test
async def test_operator_accepts_a_payment(
    buyer: Buyer, webhooks: Webhooks, service: Service, mongodb_url: str
) -> None:
    payment_id, event_id = await rejected_payment(buyer, webhooks, service)
    variables = complete(mongodb_url, buyer.sandbox, buyer.shop)
    arguments = ("events", "accept", event_id, "--reason", "as agreed", "--credits", "50")
    code, _, err = await run_command(*arguments[:-2], variables=variables)
    assert (code, err) == (
        2,
        f"The metadata of {payment_id} at Stripe is not complete: add --credits.\n",
    )
    worth = f"50 credits for {ACCOUNT} ({payment_id})"
    code, out, err = await run_command(*arguments, variables=variables)
    assert (code, " ".join(out.split()), err) == (0, f"{event_id} → credited: {worth}", "")
    code, out, _ = await run_command(*arguments, variables=variables)
    already = f"{event_id} → already credited, nothing was changed: {worth}"
    assert (code, " ".join(out.split())) == (0, already)
    assert await buyer.credits() == 50


@pytest.mark.gen_test
async def test_second_accept_completes_the_first_after_a_crash(
    buyer: Buyer, webhooks: Webhooks, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, event_id = await rejected_payment(buyer, webhooks, service)

    async def end(*_: Any) -> None:
        raise StoreUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(service.store, "commit", end)
        with pytest.raises(StoreUnavailable):
            await service.acceptance().accept(event_id, "why", credits=50)
    assert await buyer.credits() == 50
    verdict = await service.acceptance().accept(event_id, "why", credits=50)
    assert not verdict.is_new
    await service.processor.replay(event_id)
    assert [one.id async for one in service.store.event_lists.find(status="rejected")] == []
    assert await buyer.credits() == 50


@pytest.mark.gen_test
async def test_only_one_of_two_different_concurrent_accepts_counts(
    buyer: Buyer, webhooks: Webhooks, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, event_id = await rejected_payment(buyer, webhooks, service, metadata={})
    looks, both_have_looked = [], asyncio.Event()
    operation = Repairs.operation

    async def look_together(self: Repairs, *args: Any) -> Any:
        made = await operation(self, *args)
        looks.append(made)
        if len(looks) == 2:
            both_have_looked.set()
        await both_have_looked.wait()
        return made

    monkeypatch.setattr(Repairs, "operation", look_together)
    verdicts = await asyncio.gather(
        service.acceptance().accept(event_id, "one", account_uid="a", credits=50),
        service.acceptance().accept(event_id, "other", account_uid="b", credits=70),
    )
    assert sorted(one.is_new for one in verdicts) == [False, True]
    assert len({one.top_up for one in verdicts}) == 1, "both are told what counts"
    [row] = await rows(service, "ledger")
    assert row["account_uid"] == verdicts[0].top_up.account_uid
    assert await differences(service) == []
