"""Everything that depends on the time takes a clock: here it is moved, and nothing sleeps."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from pydantic import SecretStr
from pymongo.errors import OperationFailure, PyMongoError

from datalayer_stripe.auth import BearerTokens
from datalayer_stripe.billing.cached import FRESH_SECONDS, RETRY_SECONDS, STALE_SECONDS, Cached
from datalayer_stripe.billing.subscriptions import GRACE_PERIOD, allows_purchases
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
from datalayer_stripe.store.events import Mark
from datalayer_stripe.store.unit_of_work import CommitReceipt, UnitOfWork
from tests.support.app import JWT_SECRET, WEBHOOK_SECRET, recorded, sign

NOW = datetime(2026, 11, 1, tzinfo=UTC)
PAID = recorded("payment_intent.succeeded")
SECOND = timedelta(seconds=1)


class Seconds:
    """A monotonic clock that stands still until it is moved; sleeping on it moves it."""

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


# A subscription's period


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
def test_a_period_counts_for_one_day_more(late: timedelta, eligible: bool) -> None:
    assert allows_purchases(monthly(NOW), {"prod_1"}, NOW + late) is eligible


# A delivery's signature


@pytest.mark.parametrize("direction", [1, -1])
def test_a_signature_is_good_for_five_minutes_either_way(direction: int) -> None:
    signed = sign(PAID, at=NOW.timestamp())
    secrets = [SecretStr(WEBHOOK_SECRET)]
    verify(PAID, signed, secrets, NOW.timestamp() + direction * TOLERANCE_SECONDS)
    with pytest.raises(InvalidSignature):
        verify(PAID, signed, secrets, NOW.timestamp() + direction * (TOLERANCE_SECONDS + 1))


# A bearer token


@pytest.mark.parametrize(
    ("moved", "good"),
    [(-61 * SECOND, False), (-60 * SECOND, True), (59 * SECOND, True), (60 * SECOND, False)],
)
def test_a_token_is_good_from_its_first_to_its_last_second(moved: timedelta, good: bool) -> None:
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
def test_a_time_that_is_none_is_refused(claim: str, value: Any) -> None:
    claims = {"sub": "a", "iss": "issuer", "exp": int(NOW.timestamp()) + 60, claim: value}
    token = jwt.encode(claims, JWT_SECRET, algorithm="HS256")
    tokens = BearerTokens(SecretStr(JWT_SECRET), "HS256", ["issuer"], lambda: NOW)
    with pytest.raises(Unauthorized):
        tokens.authenticate(f"Bearer {token}")


# What is cached


class Source:
    """What is fetched: a number that grows, or Stripe's trouble."""

    def __init__(self) -> None:
        self.fetched = 0
        self.trouble: Exception | None = None

    async def __call__(self) -> int:
        self.fetched += 1
        if self.trouble is not None:
            raise self.trouble
        return self.fetched


@pytest.mark.gen_test
async def test_a_value_is_fresh_for_a_minute(seconds: Seconds) -> None:
    source = Source()
    cached = Cached(source, seconds)
    assert await cached.get() == 1
    seconds.now += FRESH_SECONDS - 1
    assert await cached.get() == 1
    seconds.now += 1
    assert await cached.get() == 2


@pytest.mark.parametrize("trouble", [StripeUnavailable(), RateLimited()])
@pytest.mark.gen_test
async def test_a_stale_value_is_shown_for_an_hour_and_stripe_asked_now_and_then(
    seconds: Seconds, trouble: Exception
) -> None:
    source = Source()
    cached = Cached(source, seconds)
    assert await cached.get() == 1
    source.trouble = trouble
    seconds.now += FRESH_SECONDS
    assert [await cached.get() for _ in range(3)] == [1] * 3
    assert source.fetched == 2, "not every request asks"
    seconds.now += RETRY_SECONDS
    assert await cached.get() == 1
    assert source.fetched == 3
    seconds.now += STALE_SECONDS
    with pytest.raises(type(trouble)):
        await cached.get()
    source.trouble = None
    assert await cached.get() == 5


# A commit


class Busy(Transactions):
    """Transactions that fail so often before one succeeds."""

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
async def test_a_commit_pauses_longer_each_time_and_then_succeeds(seconds: Seconds) -> None:
    busy = Busy(seconds, 10, conflict())
    assert (await busy.commit(WORK)).credits_added == 50
    assert busy.attempts == 11
    expected = [min(0.002 * 2**number, 0.1) for number in range(10)]
    for slept, pause in zip(seconds.slept, expected, strict=True):
        assert 0.5 * pause <= slept <= 1.5 * pause


@pytest.mark.gen_test
async def test_a_commit_gives_up_at_its_deadline(seconds: Seconds) -> None:
    begun = seconds.now
    with pytest.raises(StoreUnavailable):
        await Busy(seconds, float("inf"), conflict()).commit(WORK)
    assert COMMIT_SECONDS - 0.2 <= seconds.now - begun <= COMMIT_SECONDS + 0.2
    assert len(seconds.slept) > 10


@pytest.mark.gen_test
async def test_what_will_not_pass_is_not_waited_for(seconds: Seconds) -> None:
    busy = Busy(seconds, 1, PyMongoError("gone"))
    with pytest.raises(StoreUnavailable):
        await busy.commit(WORK)
    assert (busy.attempts, seconds.slept) == (1, [])
