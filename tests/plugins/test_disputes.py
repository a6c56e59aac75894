"""Disputes that are lost, won or reopened; with refunds; and purchases during a dispute."""

import json
from typing import Any

import pytest

from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from datalayer_stripe.settings import Settings
from tests.support.app import json_of
from tests.support.shop import STRIPE_ROUTES, Buyer, rows

pytestmark = pytest.mark.mongod

HISTORY = f"{STRIPE_ROUTES}/topup/history"


async def reversal_rows(service: Service) -> list[tuple[str, str, int]]:
    """Return number, kind and credits of each row of a reversal."""
    found = [row for row in await rows(service, "ledger") if row.get("reverses")]
    return [(row["_id"].partition("-")[2], row["kind"], row["credits"]) for row in found]


@pytest.mark.gen_test
async def test_dispute_takes_back_credits_and_returns_them_when_it_is_won(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service
) -> None:
    await buyer.subscribe()
    webhooks.duplicate()
    bought = await buyer.buy()
    dispute = sandbox.dispute(bought["id"])
    await webhooks.settle()
    assert await buyer.credits() == 0
    text = {"uncategorized_text": "They were used."}
    sandbox.call("POST", f"/v1/disputes/{dispute['id']}", evidence=text)
    await webhooks.settle()
    assert await buyer.credits() == 0, "the money is withdrawn during the review"
    sandbox.close_dispute(dispute["id"], won=True)
    await webhooks.settle()
    assert await buyer.credits() == 50
    # The bank decides differently, twice. Each decision moves the credits once.
    sandbox.close_dispute(dispute["id"], won=False)
    await webhooks.settle()
    assert await buyer.credits() == 0
    sandbox.close_dispute(dispute["id"], won=True)
    await webhooks.settle()
    assert await buyer.credits() == 50
    assert await reversal_rows(service) == [
        ("", "dispute", -50),
        ("2", "dispute-won", 50),
        ("3", "dispute", -50),
        ("4", "dispute-won", 50),
    ]
    assert {one.status for one in webhooks.attempts} == {200}
    shown = json_of(await buyer.api.get(HISTORY))["history"]
    assert [one["amount"] for one in reversed(shown)] == [500, -500, 500, -500, 500]


@pytest.mark.gen_test
async def test_lost_dispute_does_not_return_credits(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service
) -> None:
    await buyer.subscribe()
    dispute = sandbox.dispute((await buyer.buy())["id"], amount=250)
    sandbox.close_dispute(dispute["id"], won=False)
    await webhooks.settle()
    assert await buyer.credits() == 25
    assert await reversal_rows(service) == [("", "dispute", -25)]


@pytest.mark.gen_test
async def test_inquiry_takes_no_credits_until_it_becomes_a_dispute(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    inquiry = sandbox.dispute((await buyer.buy())["id"], inquiry=True)
    await webhooks.settle()
    assert await buyer.credits() == 50
    sandbox.escalate_dispute(inquiry["id"])
    await webhooks.settle()
    assert await buyer.credits() == 0


@pytest.mark.gen_test
async def test_payment_with_immediate_dispute_ends_without_credits(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    started = json_of(await buyer.ask_to_buy())
    webhooks.hold()
    sandbox.confirm_payment(started["client_secret"], "4000000000000259")
    webhooks.release("reversed")
    await webhooks.settle()
    assert await buyer.credits() == 0


@pytest.mark.parametrize("refunded_first", [True, False])
@pytest.mark.gen_test
async def test_refund_and_dispute_together_take_at_most_all_credits(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, refunded_first: bool
) -> None:
    await buyer.subscribe()
    bought = await buyer.buy()
    steps: list[Any] = [
        lambda: sandbox.refund(bought["id"], 300),
        lambda: sandbox.dispute(bought["id"]),
    ]
    made = []
    for step in steps if refunded_first else reversed(steps):
        made.append(step())
        await webhooks.settle()
    assert await buyer.credits() == 0
    dispute = next(one for one in made if one["object"] == "dispute")
    sandbox.close_dispute(dispute["id"], won=True)
    await webhooks.settle()
    assert await buyer.credits() == 20, "the refund still counts"


@pytest.mark.gen_test
async def test_dispute_does_not_block_purchases_by_default(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    sandbox.dispute((await buyer.buy())["id"])
    await webhooks.settle()
    assert (await buyer.ask_to_buy()).code == 201


class TestRefusal:
    """Tests with `DATALAYER_STRIPE_TOPUP_DURING_DISPUTE=refuse`."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"stripe_topup_during_dispute": "refuse"})

    @pytest.mark.parametrize("won", [True, False])
    @pytest.mark.gen_test
    async def test_account_with_an_open_dispute_cannot_buy(
        self, buyer: Buyer, stranger: Buyer, sandbox: Sandbox, webhooks: Webhooks, won: bool
    ) -> None:
        for one in (buyer, stranger):
            await one.subscribe()
        bought = [(await buyer.buy())["id"] for _ in range(2)]
        disputes = [sandbox.dispute(intent_id)["id"] for intent_id in bought]
        await webhooks.settle()
        for dispute in disputes:
            answer = await buyer.ask_to_buy()
            assert (answer.code, json_of(answer)["code"]) == (409, "conflict")
            assert json_of(answer)["message"] == (
                "A payment of this account is disputed. "
                "You can buy credits again when the dispute has been decided."
            )
            assert (await stranger.ask_to_buy()).code == 201, "another account can buy"
            sandbox.close_dispute(dispute, won=won)
            await webhooks.settle()
        assert (await buyer.ask_to_buy()).code == 201

    @pytest.mark.gen_test
    async def test_inquiry_and_refund_do_not_block_purchases(
        self, buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks
    ) -> None:
        await buyer.subscribe()
        bought = await buyer.buy()
        sandbox.refund(bought["id"], 100)
        sandbox.dispute(bought["id"], inquiry=True)
        await webhooks.settle()
        assert (await buyer.ask_to_buy()).code == 201


@pytest.mark.gen_test
async def test_event_of_an_old_api_version_is_read(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    bought = await buyer.buy()
    webhooks.hold()
    sandbox.refund(bought["id"], 100)
    charge = sandbox.get(bought["latest_charge"])
    [event] = [one for one in sandbox.events if one["type"] == "charge.refunded"]
    refunds = {"object": "list", "data": sandbox.call("GET", "/v1/refunds")["data"]}
    old = {
        **event,
        "api_version": "2020-08-27",
        "data": {"object": {**charge, "refunds": refunds, "invoice": None}},
    }
    assert (await buyer.api.deliver(json.dumps(old).encode())).code == 200
    assert await buyer.credits() == 40
