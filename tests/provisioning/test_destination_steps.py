"""The set-up creates the event destination for thin events, if it is asked to."""

import pytest
from pydantic import SecretStr

from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.provisioning.event_destination import parse_destination
from datalayer_stripe.provisioning.offers import Offer, Offers
from datalayer_stripe.provisioning.setup import SetupRequest, plan_setup
from datalayer_stripe.provisioning.steps import Result, Step, apply_steps
from datalayer_stripe.provisioning.webhook_endpoints import parse_endpoint
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.stripe_api.client import StripeClient
from tests.support.shop import objects

URL = "http://127.0.0.1:9/api/iam/stripe/v1/webhook"
PATH = "/v2/core/event_destinations"
SECRET = "DATALAYER_STRIPE_WEBHOOK_SECRET"
SUBJECT = "thin event destination"
EVENTS = tuple(Registry.load().types)
OFFERS = Offers([Offer.package("usd", 500, 50)], Offer.plan("usd", 2900))


class Operator:
    """Runs the set-up. `variables` is what the environment file contains."""

    def __init__(self, client: StripeClient) -> None:
        self.client = client
        self.variables: dict[str, str] = {}

    async def plan(self, *events: str, thin: bool = True) -> list[Step]:
        request = SetupRequest(OFFERS, URL, events or EVENTS, self.variables, thin)
        return await plan_setup(self.client, request)

    async def set_up(self, *events: str, thin: bool = True) -> list[Result]:
        return await apply_steps(
            await self.plan(*events, thin=thin),
            save=self.variables.update,
            on_result=lambda _: None,
        )

    @property
    def secrets(self) -> list[SecretStr]:
        return [SecretStr(one) for one in self.variables[SECRET].split(",")]


@pytest.fixture
def operator(client: StripeClient) -> Operator:
    return Operator(client)


def thin_steps(steps: list[Step]) -> list[tuple[str, str]]:
    return [(one.action.value, one.detail) for one in steps if one.subject == SUBJECT]


@pytest.mark.gen_test
async def test_secrets_of_the_endpoint_and_of_the_destination_are_both_saved(
    operator: Operator, sandbox: Sandbox
) -> None:
    assert thin_steps(await operator.plan(thin=False)) == []
    results = await operator.set_up()
    assert [one.problem for one in results if one.problem] == []
    [endpoint] = map(parse_endpoint, objects(sandbox, "/v1/webhook_endpoints"))
    [stored] = sandbox.call("GET", PATH)["data"]
    assert stored["enabled_events"] == sorted(f"v1.{event}" for event in EVENTS)
    destination = parse_destination(stored)
    assert [endpoint.has_secret(one) for one in operator.secrets] == [False, True]
    assert [destination.has_secret(one) for one in operator.secrets] == [True, False]
    assert not any(one.run for one in await operator.plan()), "nothing is left to do"


@pytest.mark.gen_test
async def test_destination_is_added_to_an_account_that_has_the_endpoint(
    operator: Operator,
) -> None:
    await operator.set_up(thin=False)
    before = operator.secrets
    assert [one.step.subject for one in await operator.set_up()] == [SUBJECT]
    assert operator.secrets[1:] == before


@pytest.mark.gen_test
async def test_events_of_a_new_plugin_are_added_and_those_without_a_thin_event_are_named(
    operator: Operator, sandbox: Sandbox
) -> None:
    await operator.set_up()
    [stored] = sandbox.call("GET", PATH)["data"]
    steps = await operator.plan(*EVENTS, "payout.paid", "customer.source.created")
    assert thin_steps(steps) == [
        (
            "change",
            f"{stored['id']}: add the event type v1.payout.paid, without customer.source.created, "
            "which has no thin event",
        )
    ]


@pytest.mark.gen_test
async def test_lost_secret_and_missing_permission_are_steps_by_hand(
    operator: Operator, sandbox: Sandbox
) -> None:
    await operator.set_up()
    [secret] = [one for one in operator.secrets if _is_that_of_the_destination(sandbox, one)]
    kept = [one.get_secret_value() for one in operator.secrets if one != secret]
    operator.variables[SECRET] = ",".join(kept)
    [lost] = await operator.set_up()
    assert lost.problem.startswith("that of ed_test_")
    assert "run this command again" in lost.by_hand

    sandbox.dispatcher.restricted_keys[sandbox.secret_key] = frozenset(
        {"product_read", "plan_read", "customer_portal_read"}
    )
    results = {one.step.subject: one for one in await operator.set_up()}
    assert "Webhook Endpoints: Read" in results[SUBJECT].problem
    assert "payload style thin" in results[SUBJECT].by_hand


def _is_that_of_the_destination(sandbox: Sandbox, secret: SecretStr) -> bool:
    [stored] = sandbox.call("GET", PATH)["data"]
    return parse_destination(stored).has_secret(secret) is True
