"""How often an account may make us ask Stripe: what is refused, and what goes on all the same."""

import asyncio
import contextlib

import pytest

from datalayer_stripe import limits as rate_limiter
from datalayer_stripe.errors import RateLimited
from datalayer_stripe.limits import BURST, SECONDS_PER_REQUEST, AccountRateLimiter
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import ACCOUNT, json_of
from tests.support.shop import IAM_ROUTES, OTHER_ACCOUNT, STRIPE_ROUTES, Buyer

RETURN = {"return_url": "http://localhost/"}
ASK_STRIPE = {
    f"{STRIPE_ROUTES}/topup/payment-intent": {"price_id": "price_1"},
    f"{STRIPE_ROUTES}/subscription/payment-intent": {"price_id": "price_1"},
    f"{STRIPE_ROUTES}/subscription/resume/setup-intent": {},
    f"{IAM_ROUTES}/subscription/cancel": {},
    f"{IAM_ROUTES}/subscription/resume": {},
    f"{IAM_ROUTES}/plans/cancel": {},
    f"{IAM_ROUTES}/plans/resume": {},
    f"{IAM_ROUTES}/checkout/portal": RETURN,
}


def use_up(service: Service, account: str = ACCOUNT) -> None:
    with contextlib.suppress(RateLimited):
        for _ in range(BURST + 1):
            service.rate_limiter.take(account)


def test_so_many_at_once_and_then_no_more() -> None:
    allowed = AccountRateLimiter()
    for _ in range(BURST):
        allowed.take("a")
    with pytest.raises(RateLimited) as refused:
        allowed.take("a")
    assert refused.value.retry_after == SECONDS_PER_REQUEST
    assert refused.value.message.endswith(f"try again in {SECONDS_PER_REQUEST} s.")
    allowed.take("b")


@pytest.mark.gen_test
async def test_one_more_as_time_passes_and_no_two() -> None:
    allowed = AccountRateLimiter(burst=2, seconds_per_request=1)
    loop = asyncio.get_running_loop()
    began = loop.time()
    taken = 0
    while taken < 4:
        try:
            allowed.take("a")
        except RateLimited:
            await asyncio.sleep(0.01)
        else:
            taken += 1
    assert loop.time() - began > 1.8, "two at once, and one for each second"


def test_it_remembers_no_more_accounts_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limiter, "MAX_TRACKED_ACCOUNTS", 3)
    allowed = AccountRateLimiter(burst=1)
    for number in range(100):
        allowed.take(f"a{number}")
    for number in (98, 99):
        with pytest.raises(RateLimited):
            allowed.take(f"a{number}")
    allowed.take("a1")


@pytest.mark.parametrize("path", ASK_STRIPE)
@pytest.mark.gen_test
async def test_who_asks_too_often_is_told_to_wait(
    buyer: Buyer, sandbox: Sandbox, service: Service, path: str
) -> None:
    use_up(service)
    asked = len(sandbox.api.calls)
    refused = await buyer.api.post(path, ASK_STRIPE[path])
    fields = json_of(refused)
    assert (refused.code, fields["code"]) == (429, "rate_limited")
    assert 1 <= int(refused.headers["Retry-After"]) <= SECONDS_PER_REQUEST
    assert fields["message"].startswith("Too many requests from this account. Please try again in")
    assert len(sandbox.api.calls) == asked
    other = await buyer.api.post(path, ASK_STRIPE[path], OTHER_ACCOUNT)
    assert other.code != 429, "another account's is its own"


@pytest.mark.gen_test
async def test_a_script_that_asks_without_end_reaches_stripe_only_so_often(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    before = len(sandbox.api.calls)
    answers = [await buyer.ask_to_buy(Idempotency_Key=f"order-{n}") for n in range(3 * BURST)]
    assert {answer.code for answer in answers} == {201, 429}
    assert len(sandbox.api.calls) - before <= BURST + 2


@pytest.mark.gen_test
async def test_how_an_unpaid_top_up_stands_is_asked_of_stripe_only_so_often(
    buyer: Buyer, service: Service, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    paid = await buyer.buy()
    unpaid = json_of(await buyer.ask_to_buy())["payment_intent_id"]
    use_up(service)
    status = f"{STRIPE_ROUTES}/topup/payment-intent"
    assert (await buyer.api.get(f"{status}/{unpaid}")).code == 429
    assert (await buyer.api.get(f"{status}/{paid['id']}")).code == 200, "our books know it"


@pytest.mark.gen_test
async def test_what_our_books_say_is_shown_all_the_same(
    buyer: Buyer, sandbox: Sandbox, service: Service, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    await buyer.buy()
    use_up(service)
    before = len(sandbox.api.calls)
    page = json_of(await buyer.api.get(f"{STRIPE_ROUTES}/topup/history"))
    assert [(row["credits"], row["receipt_url"]) for row in page["history"]] == [(50, None)]
    assert (await buyer.plan())["wallet_balance"] == 50
    assert len(sandbox.api.calls) == before


@pytest.mark.gen_test
async def test_a_plan_that_is_being_paid_is_shown_without_a_look_at_stripe(
    buyer: Buyer, sandbox: Sandbox, service: Service, webhooks: Webhooks
) -> None:
    webhooks.hold()
    started = json_of(await buyer.ask_to_subscribe())
    await buyer.plan()
    sandbox.confirm_payment(started["client_secret"])
    use_up(service)
    assert (await buyer.plan())["status"] == "incomplete"
