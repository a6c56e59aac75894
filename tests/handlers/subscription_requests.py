"""Requests that change a subscription, for the tests of its routes."""

from tornado.httpclient import HTTPResponse

from datalayer_stripe.sandbox import Sandbox
from tests.support.app import Api, json_of
from tests.support.shop import IAM_ROUTES, STRIPE_ROUTES, objects


async def cancel(api: Api, base: str = "subscription") -> HTTPResponse:
    return await api.post(f"{IAM_ROUTES}/{base}/cancel")


async def resume(api: Api, base: str = "subscription") -> HTTPResponse:
    return await api.post(f"{IAM_ROUTES}/{base}/resume")


async def renew_card(api: Api) -> HTTPResponse:
    return await api.post(f"{STRIPE_ROUTES}/subscription/resume/setup-intent")


def assert_conflict(answer: HTTPResponse) -> None:
    assert (answer.code, json_of(answer)["code"]) == (409, "conflict")


def subscriptions(sandbox: Sandbox) -> list[str]:
    """Return the ids of all subscriptions at Stripe."""
    return [
        subscription["id"] for subscription in objects(sandbox, "/v1/subscriptions", status="all")
    ]


def update_call(subscription_id: str) -> tuple[str, str]:
    """Return the method and the path of the call that updates a subscription at Stripe."""
    return "POST", f"/v1/subscriptions/{subscription_id}"
