"""Limits that an operator has set in the settings."""

import pytest
from tornado.web import Application

from datalayer_stripe.errors import RateLimited
from datalayer_stripe.service import Service
from datalayer_stripe.settings import Settings
from tests.handlers.stream_reader import STREAM, open_stream
from tests.support.app import ACCOUNT, Api, json_of
from tests.support.shop import OTHER_ACCOUNT
from tests.test_settings import VARIABLES, faults_of

LIMITS = {
    "stripe_max_body_memory": 17,
    "stripe_max_streams": 2,
    "stripe_max_streams_per_account": 1,
    "stripe_account_burst": 2,
    "stripe_account_interval": 7,
    "stripe_max_tracked_accounts": 1,
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update=LIMITS)


@pytest.mark.parametrize("name", LIMITS)
def test_limit_has_a_lower_and_an_upper_bound(name: str) -> None:
    assert faults_of(**{name: 0}).keys() == {VARIABLES[name]}
    assert faults_of(**{name: 10**9}).keys() == {VARIABLES[name]}


@pytest.mark.gen_test
async def test_streams_are_limited_by_the_settings(api: Api) -> None:
    async with open_stream(api) as mine:
        await mine.next()
        refused = await api.get(STREAM)
        assert (refused.code, json_of(refused)["code"]) == (429, "rate_limited")
        assert "other tabs" in json_of(refused)["message"]
        async with open_stream(api, OTHER_ACCOUNT) as other:
            await other.next()
            refused = await api.get(STREAM, "third")
            assert "Try again later" in json_of(refused)["message"]


def test_requests_of_an_account_are_limited_by_the_settings(service: Service) -> None:
    for _ in range(2):
        service.rate_limiter.take(ACCOUNT)
    with pytest.raises(RateLimited) as refused:
        service.rate_limiter.take(ACCOUNT)
    assert refused.value.retry_after == 7
    service.rate_limiter.take(OTHER_ACCOUNT)
    service.rate_limiter.take(ACCOUNT)  # it was forgotten for the other one


def test_memory_of_bodies_is_limited_by_the_settings(app: Application) -> None:
    assert app.settings["datalayer_stripe"].body_budget.limit == 17 * 1024 * 1024
