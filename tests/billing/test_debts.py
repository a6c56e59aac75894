"""A refund of spent credits leads to a balance below zero, or to a debt."""

import json
import random

import pytest

from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from datalayer_stripe.settings import Settings
from tests.support.app import ACCOUNT, Clock, json_of
from tests.support.audits import deliver_until_accepted, differences
from tests.support.shop import STRIPE_ROUTES, Buyer, rows


async def spend(service: Service, credits: int) -> None:
    """Spend credits, as another service of Datalayer does."""
    database = service.store._database
    number = len(await rows(service, "ledger"))
    spent = {"_id": f"spent_{number}", "account_uid": ACCOUNT, "kind": "spent", "credits": -credits}
    await database.ledger.insert_one(spent)
    await database.accounts.update_one({"_id": ACCOUNT}, {"$inc": {"credits": -credits}})


async def settlements(service: Service) -> list[tuple[str, int]]:
    found = await rows(service, "ledger")
    return sorted((row["kind"], row["credits"]) for row in found if "debt" in row["kind"])


async def debt(service: Service) -> int:
    return (await service.store.accounts.get(ACCOUNT)).debt


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_balance_goes_below_zero_by_default(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service, clock: Clock
) -> None:
    await buyer.subscribe()
    bought = await buyer.buy()
    await spend(service, 40)
    sandbox.refund(bought["id"])
    await webhooks.settle()
    assert (await buyer.credits(), await debt(service)) == (-40, 0)
    await buyer.buy()
    assert await buyer.credits() == 10
    clock.advance(minutes=6)
    assert await differences(service) == []


class TestDebts:
    """Tests with `DATALAYER_STRIPE_NEGATIVE_BALANCE=debt`."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"stripe_negative_balance": "debt"})

    @pytest.mark.gen_test
    async def test_missing_credits_become_a_debt_that_the_next_top_ups_pay_in_memory(
        self, buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service
    ) -> None:
        await self._create_and_pay_debt(buyer, sandbox, webhooks, service)

    @pytest.mark.mongod
    @pytest.mark.gen_test
    async def test_missing_credits_become_a_debt_that_the_next_top_ups_pay(
        self, buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service, clock: Clock
    ) -> None:
        await self._create_and_pay_debt(buyer, sandbox, webhooks, service)
        clock.advance(minutes=6)
        assert await differences(service) == []

    async def _create_and_pay_debt(
        self, buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service
    ) -> None:
        await buyer.subscribe()
        bought = [(await buyer.buy())["id"] for _ in range(2)]
        await spend(service, 90)
        for intent_id in bought:
            sandbox.refund(intent_id)
            await webhooks.settle()
            assert await buyer.credits() == 0
        assert await debt(service) == 90
        assert await settlements(service) == [("debt", 40), ("debt", 50)]
        await buyer.buy()
        assert (await buyer.credits(), await debt(service)) == (0, 40)
        await buyer.buy()
        assert (await buyer.credits(), await debt(service)) == (10, 0)
        await buyer.buy()
        assert await buyer.credits() == 60
        assert await settlements(service) == [
            ("debt", 40),
            ("debt", 50),
            ("debt-paid", -50),
            ("debt-paid", -40),
        ]

    @pytest.mark.mongod
    @pytest.mark.gen_test
    async def test_won_dispute_pays_the_debt_that_it_created(
        self, buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service, clock: Clock
    ) -> None:
        await buyer.subscribe()
        bought = await buyer.buy()
        await spend(service, 40)
        dispute = sandbox.dispute(bought["id"])
        await webhooks.settle()
        assert (await buyer.credits(), await debt(service)) == (0, 40)
        sandbox.close_dispute(dispute["id"], won=True)
        await webhooks.settle()
        assert (await buyer.credits(), await debt(service)) == (10, 0)
        clock.advance(minutes=6)
        assert await differences(service) == []

    @pytest.mark.mongod
    @pytest.mark.parametrize("seed", range(4))
    @pytest.mark.gen_test
    async def test_concurrent_events_create_no_debt_twice(
        self,
        buyer: Buyer,
        sandbox: Sandbox,
        webhooks: Webhooks,
        service: Service,
        clock: Clock,
        seed: int,
    ) -> None:
        await buyer.subscribe()
        bought = [(await buyer.buy())["id"] for _ in range(4)]
        await spend(service, 170)
        webhooks.hold()
        before = len(sandbox.events)
        for intent_id in bought[:3]:
            sandbox.refund(intent_id, 250)
            sandbox.refund(intent_id, 250)
        sandbox.dispute(bought[3])
        new = json_of(await buyer.ask_to_buy())
        sandbox.confirm_payment(new["client_secret"])
        deliveries = [
            event
            for event in sandbox.events[before:]
            if event["type"].startswith(("refund.", "charge.dispute", "payment_intent.succ"))
        ] * 2
        random.Random(seed).shuffle(deliveries)
        await deliver_until_accepted(buyer, deliveries)
        # 250 credits were bought, 200 refunded and 170 spent.
        assert await buyer.credits() - await debt(service) == 250 - 200 - 170
        assert await buyer.credits() == 0
        clock.advance(minutes=6)
        assert await differences(service) == []

    @pytest.mark.gen_test
    async def test_history_shows_a_debt(
        self, buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service
    ) -> None:
        await buyer.subscribe()
        bought = await buyer.buy()
        await spend(service, 40)
        sandbox.refund(bought["id"])
        await webhooks.settle()
        await service.store._database.ledger.delete_one(
            {"kind": "spent"}
        )  # the history has no view of it
        answer = await buyer.api.get(f"{STRIPE_ROUTES}/topup/history?limit=1")
        [owed] = json.loads(answer.body)["history"]
        assert (owed["kind"], owed["credits"], owed["amount"]) == ("debt", 40, 0)
        assert (owed["price_id"], owed["reverses"], owed["receipt_url"]) == (None, None, None)

    @pytest.mark.gen_test
    async def test_refund_that_the_balance_covers_leaves_no_debt(
        self, buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service
    ) -> None:
        await buyer.subscribe()
        bought = await buyer.buy()
        sandbox.refund(bought["id"])
        await webhooks.settle()
        assert (await buyer.credits(), await debt(service)) == (0, 0)
        assert await settlements(service) == []


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_audit_compares_the_debt_with_the_ledger(service: Service, sandbox: Sandbox) -> None:
    row = {"account_uid": ACCOUNT, "kind": "debt", "credits": 5}
    await service.store._database.ledger.insert_one({"_id": "re_1-debt", **row})
    held = {"_id": ACCOUNT, "credits": 5, "debt": 4}
    await service.store._database.accounts.insert_one(held)
    [found] = await differences(service)
    assert (found.kind, found.id) == ("debt", ACCOUNT)
    assert found.explanation == "the debt is 4, but its ledger sums to 5"
