"""The rate limit of requests to Stripe per account, and what works without Stripe."""

import asyncio
import contextlib

import pytest

from datalayer_stripe.errors import RateLimited
from datalayer_stripe.limits import AccountRateLimiter
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from datalayer_stripe.settings import Settings
from tests.support.app import ACCOUNT, json_of
from tests.support.shop import IAM_ROUTES, OTHER_ACCOUNT, STRIPE_ROUTES, Buyer

BURST: int = Settings.model_fields["stripe_account_burst"].default
SECONDS_PER_REQUEST: int = Settings.model_fields["stripe_account_interval"].default
# The limit of the service recovers with real time. It must not while a test runs.
LONG_INTERVAL = 3600
PORTAL_REQUEST = {"return_url": "http://localhost/"}
BODIES = {
    f"{STRIPE_ROUTES}/topup/payment-intent": {"price_id": "price_1"},
    f"{STRIPE_ROUTES}/subscription/payment-intent": {"price_id": "price_1"},
    f"{STRIPE_ROUTES}/subscription/resume/setup-intent": {},
    f"{IAM_ROUTES}/subscription/cancel": {},
    f"{IAM_ROUTES}/subscription/resume": {},
    f"{IAM_ROUTES}/plans/cancel": {},
    f"{IAM_ROUTES}/plans/resume": {},
    f"{IAM_ROUTES}/checkout/portal": PORTAL_REQUEST,
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"stripe_account_interval": LONG_INTERVAL})


def use_up_burst(service: Service, account: str = ACCOUNT) -> None:
    """Use up the burst of an account, so that its next request is refused."""
    with contextlib.suppress(RateLimited):
        for _ in range(BURST + 1):
            service.rate_limiter.take(account)


def limiter_of(*, burst: int, interval: int, max_accounts: int = 100) -> AccountRateLimiter:
    return AccountRateLimiter(burst=burst, interval=interval, max_accounts=max_accounts)


def test_requests_after_burst_are_refused() -> None:
    limiter = limiter_of(burst=BURST, interval=SECONDS_PER_REQUEST)
    for _ in range(BURST):
        limiter.take("a")
    with pytest.raises(RateLimited) as refused:
        limiter.take("a")
    assert refused.value.retry_after == SECONDS_PER_REQUEST
    assert refused.value.message.endswith(f"try again in {SECONDS_PER_REQUEST} s.")
    limiter.take("b")


@pytest.mark.gen_test
async def test_one_request_per_interval_is_allowed_after_burst() -> None:
    limiter = limiter_of(burst=2, interval=1)
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    taken = 0
    while taken < 4:
        try:
            limiter.take("a")
        except RateLimited:
            await asyncio.sleep(0.01)
        else:
            taken += 1
    assert loop.time() - started_at > 1.8, "two at once, then one per second"


def test_rate_limiter_forgets_accounts_over_its_limit() -> None:
    limiter = limiter_of(burst=1, interval=3, max_accounts=3)
    for number in range(100):
        limiter.take(f"a{number}")
    for number in (98, 99):
        with pytest.raises(RateLimited):
            limiter.take(f"a{number}")
    limiter.take("a1")


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.gen_test
async def test_request_over_rate_limit_is_429_with_retry_after(
    buyer: Buyer, sandbox: Sandbox, service: Service, path: str
) -> None:
    use_up_burst(service)
    call_count = len(sandbox.api.calls)
    refused = await buyer.api.post(path, BODIES[path])
    fields = json_of(refused)
    assert (refused.code, fields["code"]) == (429, "rate_limited")
    assert 1 <= int(refused.headers["Retry-After"]) <= LONG_INTERVAL
    assert fields["message"].startswith("Too many requests from this account. Please try again in")
    assert len(sandbox.api.calls) == call_count
    other = await buyer.api.post(path, BODIES[path], OTHER_ACCOUNT)
    assert other.code != 429, "each account has its own limit"


@pytest.mark.gen_test
async def test_endless_requests_reach_stripe_only_within_rate_limit(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    before = len(sandbox.api.calls)
    answers = [await buyer.ask_to_buy(Idempotency_Key=f"order-{n}") for n in range(3 * BURST)]
    assert {answer.code for answer in answers} == {201, 429}
    assert len(sandbox.api.calls) - before <= BURST + 2


@pytest.mark.gen_test
async def test_status_of_unpaid_top_up_is_rate_limited(
    buyer: Buyer, service: Service, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    paid = await buyer.buy()
    unpaid = json_of(await buyer.ask_to_buy())["payment_intent_id"]
    use_up_burst(service)
    status = f"{STRIPE_ROUTES}/topup/payment-intent"
    assert (await buyer.api.get(f"{status}/{unpaid}")).code == 429
    assert (await buyer.api.get(f"{status}/{paid['id']}")).code == 200, "the ledger has it"


@pytest.mark.gen_test
async def test_history_and_plan_are_returned_over_rate_limit(
    buyer: Buyer, sandbox: Sandbox, service: Service, webhooks: Webhooks
) -> None:
    await buyer.subscribe()
    await buyer.buy()
    use_up_burst(service)
    before = len(sandbox.api.calls)
    page = json_of(await buyer.api.get(f"{STRIPE_ROUTES}/topup/history"))
    assert [(row["credits"], row["receipt_url"]) for row in page["history"]] == [(50, None)]
    assert (await buyer.plan())["wallet_balance"] == 50
    assert len(sandbox.api.calls) == before


@pytest.mark.gen_test
async def test_incomplete_plan_is_returned_without_stripe_over_rate_limit(
    buyer: Buyer, sandbox: Sandbox, service: Service, webhooks: Webhooks
) -> None:
    webhooks.hold()
    started = json_of(await buyer.ask_to_subscribe())
    await buyer.plan()
    sandbox.confirm_payment(started["client_secret"])
    use_up_burst(service)
    assert (await buyer.plan())["status"] == "incomplete"
