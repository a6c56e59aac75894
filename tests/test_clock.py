"""Deadlines and expiries, tested by setting the clock. No test sleeps."""

import asyncio
import gc
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from pydantic import SecretStr
from pymongo.errors import OperationFailure, PyMongoError

from datalayer_stripe.auth import BearerTokens
from datalayer_stripe.billing.cached import FRESH_SECONDS, RETRY_SECONDS, STALE_SECONDS, Cached
from datalayer_stripe.billing.snapshots import GRACE_PERIOD, allows_purchases
from datalayer_stripe.errors import (
    InvalidSignature,
    RateLimited,
    StoreUnavailable,
    StripeUnavailable,
    Unauthorized,
)
from datalayer_stripe.events import TOLERANCE_SECONDS, Event, verify
from datalayer_stripe.models import SubscriptionSnapshot
from datalayer_stripe.store.commit import COMMIT_SECONDS, Transactions, Work
from datalayer_stripe.store.marks import Mark
from datalayer_stripe.store.unit_of_work import CommitReceipt, UnitOfWork
from tests.support.app import JWT_SECRET, WEBHOOK_SECRET, recorded, sign

NOW = datetime(2026, 11, 1, tzinfo=UTC)
PAID = recorded("payment_intent.succeeded")
SECOND = timedelta(seconds=1)


class Seconds:
    """Monotonic clock that a test sets. Sleeping advances it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


# The grace period of a subscription


def monthly(end: datetime | None) -> SubscriptionSnapshot:
    fields = dict.fromkeys(SubscriptionSnapshot.model_fields)
    known = {
        "id": "sub_1",
        "customer_id": "cus_1",
        "status": "active",
        "price_id": "price_1",
        "product_id": "prod_1",
        "plan_code": "monthly",
        "currency": "usd",
        "interval": "month",
        "interval_count": 1,
        "current_period_end": end,
        "cancel_at_period_end": False,
        "created_at": NOW,
    }
    return SubscriptionSnapshot.model_validate({**fields, **known})


@pytest.mark.parametrize(
    ("late", "eligible"),
    [
        (-SECOND, True),
        (GRACE_PERIOD - SECOND, True),
        (GRACE_PERIOD, False),
        (GRACE_PERIOD + SECOND, False),
    ],
)
def test_subscription_allows_purchases_until_its_grace_period_ends(
    late: timedelta, eligible: bool
) -> None:
    assert allows_purchases(monthly(NOW), {"prod_1"}, NOW + late) is eligible


# The signature of a delivery


@pytest.mark.parametrize("direction", [1, -1])
def test_signature_is_valid_within_five_minutes_of_its_time(direction: int) -> None:
    signed = sign(PAID, at=NOW.timestamp())
    secrets = [SecretStr(WEBHOOK_SECRET)]
    verify(PAID, signed, secrets, NOW.timestamp() + direction * TOLERANCE_SECONDS)
    with pytest.raises(InvalidSignature):
        verify(PAID, signed, secrets, NOW.timestamp() + direction * (TOLERANCE_SECONDS + 1))


# Bearer tokens


@pytest.mark.parametrize(
    ("moved", "good"),
    [(-61 * SECOND, False), (-60 * SECOND, True), (59 * SECOND, True), (60 * SECOND, False)],
)
def test_token_is_valid_from_its_start_to_its_expiry(moved: timedelta, good: bool) -> None:
    times = {"nbf": int(NOW.timestamp()) - 60, "exp": int(NOW.timestamp()) + 60}
    token = jwt.encode({"sub": "a", "iss": "issuer", **times}, JWT_SECRET, algorithm="HS256")
    tokens = BearerTokens(SecretStr(JWT_SECRET), "HS256", ["issuer"], lambda: NOW + moved)
    if good:
        assert tokens.authenticate(f"Bearer {token}").account_uid == "a"
    else:
        with pytest.raises(Unauthorized):
            tokens.authenticate(f"Bearer {token}")


@pytest.mark.parametrize("claim", ["exp", "nbf"])
@pytest.mark.parametrize("value", ["soon", [], None, float("inf"), float("nan")])
def test_token_with_an_invalid_time_is_refused(claim: str, value: Any) -> None:
    claims = {"sub": "a", "iss": "issuer", "exp": int(NOW.timestamp()) + 60, claim: value}
    token = jwt.encode(claims, JWT_SECRET, algorithm="HS256")
    tokens = BearerTokens(SecretStr(JWT_SECRET), "HS256", ["issuer"], lambda: NOW)
    with pytest.raises(Unauthorized):
        tokens.authenticate(f"Bearer {token}")


# The cache of prices and plans


class Source:
    """Returns an increasing number, or raises an error."""

    def __init__(self) -> None:
        self.fetched = 0
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.fetched += 1
        if self.error is not None:
            raise self.error
        return self.fetched


@pytest.mark.gen_test
async def test_cached_value_is_used_for_a_minute(seconds: Seconds) -> None:
    source = Source()
    cached = Cached(source, seconds)
    assert await cached.get() == 1
    seconds.now += FRESH_SECONDS - 1
    assert await cached.get() == 1
    seconds.now += 1
    assert await cached.get() == 2


@pytest.mark.parametrize("error", [StripeUnavailable(), RateLimited()])
@pytest.mark.gen_test
async def test_stale_value_is_used_for_an_hour_and_fetching_is_retried(
    seconds: Seconds, error: Exception
) -> None:
    source = Source()
    cached = Cached(source, seconds)
    assert await cached.get() == 1
    source.error = error
    seconds.now += FRESH_SECONDS
    assert [await cached.get() for _ in range(3)] == [1] * 3
    assert source.fetched == 2, "not every request retries"
    seconds.now += RETRY_SECONDS
    assert await cached.get() == 1
    assert source.fetched == 3
    seconds.now += STALE_SECONDS
    with pytest.raises(type(error)):
        await cached.get()
    source.error = None
    assert await cached.get() == 5


@pytest.mark.gen_test
async def test_failed_fetch_whose_callers_are_cancelled_is_not_reported_by_asyncio(
    seconds: Seconds, caplog: pytest.LogCaptureFixture
) -> None:
    may_end = asyncio.Event()

    async def fetch() -> int:
        await may_end.wait()
        raise StripeUnavailable

    cached = Cached(fetch, seconds)
    caller = asyncio.create_task(cached.get())
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait([caller])
    may_end.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    cached.clear()
    gc.collect()
    assert "never retrieved" not in caplog.text


# The deadline of a commit


class FailingTransactions(Transactions):
    """Transactions of which the first `failures` fail."""

    def __init__(self, seconds: Seconds, failures: float, error: PyMongoError) -> None:
        super().__init__(None, None, monotonic=seconds, sleep=seconds.sleep)
        self.failures = failures
        self.attempts = 0
        self._error = error

    async def attempt(self, works: Sequence[Work]) -> list[CommitReceipt]:
        self.attempts += 1
        await asyncio.sleep(0)
        if self.attempts <= self.failures:
            raise self._error
        return [CommitReceipt(credits_added=50) for _ in works]


def conflict() -> OperationFailure:
    return OperationFailure("WriteConflict", 112, {"errorLabels": ["TransientTransactionError"]})


WORK = Work(UnitOfWork(), Mark(Event.model_validate_json(PAID), "plugin", NOW))


@pytest.mark.gen_test
async def test_commit_retries_conflicts_with_exponential_backoff(seconds: Seconds) -> None:
    transactions = FailingTransactions(seconds, 10, conflict())
    assert (await transactions.commit(WORK)).credits_added == 50
    assert transactions.attempts == 11
    expected = [min(0.002 * 2**number, 0.1) for number in range(10)]
    for slept, backoff in zip(seconds.slept, expected, strict=True):
        assert 0.5 * backoff <= slept <= 1.5 * backoff


@pytest.mark.gen_test
async def test_commit_fails_at_its_deadline(seconds: Seconds) -> None:
    started = seconds.now
    with pytest.raises(StoreUnavailable):
        await FailingTransactions(seconds, float("inf"), conflict()).commit(WORK)
    assert COMMIT_SECONDS - 0.2 <= seconds.now - started <= COMMIT_SECONDS + 0.2
    assert len(seconds.slept) > 10


@pytest.mark.gen_test
async def test_commit_does_not_retry_a_permanent_error(seconds: Seconds) -> None:
    transactions = FailingTransactions(seconds, 1, PyMongoError("gone"))
    with pytest.raises(StoreUnavailable):
        await transactions.commit(WORK)
    assert (transactions.attempts, seconds.slept) == (1, [])
