"""Plugins find the account of a Stripe object, and can use the client of Stripe's SDK."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Literal

import pytest
import stripe

from datalayer_stripe import Context, Event, Plugin, TopUp
from datalayer_stripe.errors import Reject
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from datalayer_stripe.testing.faults import CallGate, Fault, FaultInjector, FaultKind
from datalayer_stripe.testing.gated_clients import gated_stripe
from tests.support.app import ACCOUNT, UNREACHABLE_URL, Api, changed, recorded
from tests.support.shop import Buyer, rows

PAID = "payment_intent.succeeded"


class Asking:
    """A plugin that records what `ctx.topups.of` returns, and calls the SDK as the test sets."""

    def __init__(self) -> None:
        self.found: dict[str, TopUp | None] = {}
        self.does: Callable[[stripe.StripeClient], Any] | None = None
        self.plugin = Plugin("asking")

        @self.plugin.on(PAID, "charge.refunded", "refund.created", "charge.dispute.created")
        async def ask(event: Event, ctx: Context) -> None:
            self.found[event.type] = await ctx.topups.of(event.object)
            if self.does is not None:
                await self.does(ctx.stripe.sdk)


@pytest.fixture
def asking() -> Asking:
    return Asking()


@pytest.fixture
def extra_plugins(asking: Asking) -> Sequence[Plugin]:
    return [asking.plugin]


@pytest.mark.gen_test
async def test_top_up_is_found_from_its_charge_refund_dispute_and_payment(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, asking: Asking
) -> None:
    await buyer.subscribe()
    bought = await buyer.buy()
    sandbox.refund(bought["id"], 100)
    sandbox.dispute(bought["id"])
    await webhooks.settle()
    top_up = TopUp(
        payment_intent_id=bought["id"],
        account_uid=ACCOUNT,
        price_id=buyer.shop.packages[0],
        credits=50,
        amount=500,
        currency="usd",
    )
    assert asking.found == dict.fromkeys(asking.plugin.types, top_up)


@pytest.mark.gen_test
async def test_top_up_that_is_not_credited_yet_is_found_at_stripe(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, service: Service, shop: Any
) -> None:
    await buyer.subscribe()
    webhooks.drop(1000)
    bought = await buyer.buy()
    refund = sandbox.refund(bought["id"], 100)
    assert await rows(service, "ledger") == []
    found = await service.topups.of(refund)
    assert found is not None
    assert (found.payment_intent_id, found.account_uid) == (bought["id"], ACCOUNT)


@pytest.mark.gen_test
async def test_object_without_a_top_up_yields_none(
    buyer: Buyer, sandbox: Sandbox, service: Service
) -> None:
    theirs = sandbox.call("POST", "/v1/payment_intents", amount=700, currency="usd")
    await buyer.subscribe()
    waiting = await buyer.ask_to_buy()
    assert waiting.code == 201
    [unpaid] = [
        one
        for one in sandbox.call("GET", "/v1/payment_intents")["data"]
        if one["metadata"].get("price_id")
    ]
    for data in (
        theirs,
        unpaid,
        {"object": "charge", "payment_intent": theirs["id"]},
        {"object": "charge", "payment_intent": None},
        {"object": "charge", "payment_intent": "pi_unknown"},
        {"object": "payment_intent", "id": None},
        {"object": "customer", "id": "cus_1"},
        {},
    ):
        assert await service.topups.of(data) is None


@pytest.mark.gen_test
async def test_malformed_top_up_payment_is_rejected(sandbox: Sandbox, service: Service) -> None:
    made = sandbox.call(
        "POST",
        "/v1/payment_intents",
        amount=700,
        currency="usd",
        payment_method="pm_card_visa",
        confirm=True,
        metadata={"account_uid": ACCOUNT, "price_id": "price_1"},
        automatic_payment_methods={"enabled": True, "allow_redirects": "never"},
    )
    with pytest.raises(Reject, match="metadata lacks credits"):
        await service.topups.of(made)


@pytest.mark.gen_test
async def test_sdk_client_calls_stripe_with_the_services_key_and_address(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, asking: Asking
) -> None:
    made: list[Any] = []

    async def create(sdk: stripe.StripeClient) -> None:
        made.append(
            await sdk.v1.customers.create_async(
                {"email": "plugin@example.com"}, {"idempotency_key": "asking-1"}
            )
        )

    asking.does = create
    await buyer.subscribe()
    await buyer.buy()
    assert {one["id"] for one in made} <= {
        one["id"] for one in sandbox.call("GET", "/v1/customers")["data"]
    }
    assert ("POST", "/v1/customers") in {(one.method, one.path) for one in sandbox.api.calls}


@pytest.mark.gen_test
async def test_sdk_errors_are_reported_by_kind_and_place_without_their_text(
    api: Api, service: Service, asking: Asking, quick_retries: None, caplog: Any
) -> None:
    async def refuse(sdk: stripe.StripeClient) -> None:
        raise stripe.InvalidRequestError(
            "No such customer: alice@example.com",
            "customer",
            code="resource_missing",
            headers={"request-id": "req_1"},
        )

    asking.does = refuse
    caplog.set_level(logging.INFO, "datalayer_stripe")
    assert (await api.deliver(recorded(PAID))).code == 503
    [event] = await rows(service, "events")
    error = event["handlers"]["asking"]["error"]
    assert error.startswith(
        "InvalidRequestError resource_missing, request req_1, at test_stripe.py"
    )
    [line] = [one for one in caplog.records if one.message == "plugin failed"]
    assert line.exc_info is None
    assert "alice" not in caplog.text

    async def unreachable(sdk: stripe.StripeClient) -> None:
        await sdk.v1.customers.retrieve_async("cus_1")

    asking.does = unreachable
    await api.deliver(changed(recorded(PAID), id="evt_2"))
    kept = await service.store.events.get("evt_2")
    assert kept is not None
    assert str(kept.handlers["asking"].error).startswith("APIConnectionError, at test_stripe.py")
    assert UNREACHABLE_URL.rpartition(":")[2] not in str(kept.handlers["asking"].error)[:18]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.gen_test
async def test_test_kit_injects_faults_into_sdk_calls(
    service: Service, sandbox: Sandbox, when: Literal["before", "after"]
) -> None:
    injector = FaultInjector([Fault(2, when, FaultKind.ERROR)])
    sdk = gated_stripe(service.stripe, CallGate(injector)).sdk
    customer = await sdk.v1.customers.create_async({})
    with pytest.raises(stripe.APIConnectionError):
        await sdk.v1.customers.delete_async(customer.id)
    assert injector.calls == [
        f"stripe.sdk.v1.customers.{name}_async" for name in ("create", "delete")
    ]
    left = [one["id"] for one in sandbox.call("GET", "/v1/customers")["data"]]
    assert left == ([customer.id] if when == "before" else [])
