"""A set-up saves the signing secret of what it creates, or else says that it was lost."""

from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import SecretStr

from datalayer_stripe.errors import SetupError, StartError, StripeUnavailable
from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.provisioning.endpoint_base import secret_digest
from datalayer_stripe.provisioning.event_destination import parse_destination
from datalayer_stripe.provisioning.offers import Offer, Offers
from datalayer_stripe.provisioning.setup import SetupRequest, plan_setup
from datalayer_stripe.provisioning.signing_secrets import SECRET_VARIABLE, SecretOwner
from datalayer_stripe.provisioning.steps import Action, Result, Save, Step, apply_steps
from datalayer_stripe.provisioning.webhook_endpoints import parse_endpoint
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.stripe_api.client import StripeClient
from tests.support.shop import objects

URL = "http://127.0.0.1:9/api/iam/stripe/v1/webhook"
EVENTS = tuple(Registry.load().types)
OFFERS = Offers([Offer.package("usd", 500, 50)], Offer.plan("usd", 2900))

ENDPOINT, DESTINATION = "webhook endpoint", "thin event destination"
PATHS = {ENDPOINT: "/v1/webhook_endpoints/we_", DESTINATION: "/v2/core/event_destinations/ed_"}
OF_THE_CLI = "whsec_ofTheCommandLineOfStripe"


class Operator:
    """Runs the set-up. `variables` is what the environment file contains."""

    def __init__(self, client: StripeClient, sandbox: Sandbox) -> None:
        self.client = client
        self.sandbox = sandbox
        self.variables: dict[str, str] = {SECRET_VARIABLE: OF_THE_CLI}

    async def plan(self, *, thin: bool = True) -> list[Step]:
        request = SetupRequest(OFFERS, URL, EVENTS, self.variables, thin)
        return await plan_setup(self.client, request)

    async def set_up(self, *, thin: bool = True, save: Save | None = None) -> list[Result]:
        return await self.apply(await self.plan(thin=thin), save=save)

    async def apply(self, steps: list[Step], *, save: Save | None = None) -> list[Result]:
        return await apply_steps(
            steps, save=save or self.variables.update, on_result=lambda _: None
        )

    def all(self, subject: str) -> list[SecretOwner]:
        """Return the endpoints, or the destinations, that Stripe has."""
        if subject == ENDPOINT:
            return [*map(parse_endpoint, objects(self.sandbox, "/v1/webhook_endpoints"))]
        found = self.sandbox.call("GET", "/v2/core/event_destinations")["data"]
        return [*map(parse_destination, found)]

    def has_secret_of(self, owner: SecretOwner) -> bool:
        values = self.variables[SECRET_VARIABLE].split(",")
        return any(owner.has_secret(SecretStr(one)) for one in values)


@pytest.fixture
def operator(client: StripeClient, sandbox: Sandbox) -> Operator:
    return Operator(client, sandbox)


class FailingFile:
    """Saves variables, but not the signing secret of an endpoint or destination."""

    def __init__(self, operator: Operator, subject: str) -> None:
        self._operator = operator
        self._saves_left = 0 if subject == ENDPOINT else 1

    def save(self, variables: Mapping[str, str]) -> None:
        if SECRET_VARIABLE in variables:
            if not self._saves_left:
                raise StartError("the disk is full")
            self._saves_left -= 1
        self._operator.variables.update(variables)


@pytest.mark.parametrize("subject", [ENDPOINT, DESTINATION])
@pytest.mark.gen_test
async def test_what_was_created_is_replaced_if_its_secret_could_not_be_saved(
    operator: Operator, subject: str
) -> None:
    with pytest.raises(StartError, match="disk is full"):
        await operator.set_up(save=FailingFile(operator, subject).save)
    [lost] = operator.all(subject)
    results = await operator.set_up()
    assert [one.problem for one in results if one.problem] == []
    [owner] = operator.all(subject)
    assert owner.id != lost.id
    assert operator.has_secret_of(owner)
    assert operator.variables[SECRET_VARIABLE].endswith(OF_THE_CLI)
    assert await operator.set_up() == []


@pytest.mark.parametrize("subject", [ENDPOINT, DESTINATION])
@pytest.mark.gen_test
async def test_run_that_cannot_save_leaves_what_a_concurrent_run_has_created(
    client: StripeClient, sandbox: Sandbox, subject: str
) -> None:
    first, second = Operator(client, sandbox), Operator(client, sandbox)
    plans = [await one.plan() for one in (first, second)]
    await first.apply(plans[0])
    with pytest.raises(StartError, match="disk is full"):
        await second.apply(plans[1], save=FailingFile(second, subject).save)
    [owner] = first.all(subject)
    assert first.has_secret_of(owner)
    assert await first.set_up() == []


async def set_up_without_record(operator: Operator, subject: str) -> None:
    """Interrupt a set-up after the creation, before the digest of the secret is recorded."""
    operator.sandbox.api.refuse(500, 1000, path_prefix=PATHS[subject])
    with pytest.raises(StripeUnavailable):
        await operator.set_up()
    operator.sandbox.api.normal()


@pytest.mark.parametrize("subject", [ENDPOINT, DESTINATION])
@pytest.mark.gen_test
async def test_endpoint_whose_secret_was_not_recorded_is_replaced(
    operator: Operator, subject: str
) -> None:
    await set_up_without_record(operator, subject)
    [lost] = operator.all(subject)
    [step] = [one for one in await operator.plan() if one.subject == subject]
    assert step.action is Action.CREATE
    assert step.detail.endswith(f"instead of {lost.id}, whose signing secret may not be saved")
    results = await operator.set_up()
    assert [one.problem for one in results if one.problem] == []
    [owner] = operator.all(subject)
    assert owner.id != lost.id
    assert operator.has_secret_of(owner)
    assert await operator.set_up() == []


@pytest.mark.parametrize("subject", [ENDPOINT, DESTINATION])
@pytest.mark.gen_test
async def test_what_another_run_records_meanwhile_is_not_replaced(
    client: StripeClient, sandbox: Sandbox, subject: str
) -> None:
    first, second = Operator(client, sandbox), Operator(client, sandbox)
    await set_up_without_record(first, subject)
    [owner] = first.all(subject)
    steps = await second.plan()
    digest = secret_digest(SecretStr(first.variables[SECRET_VARIABLE].split(",")[0]))
    metadata = {"managed_by": "datalayer-stripe", "secret_sha256": digest}
    sandbox.call("POST", f"{PATHS[subject].rpartition('/')[0]}/{owner.id}", metadata=metadata)
    await second.apply(steps)
    assert owner.id in [one.id for one in first.all(subject)]


@pytest.mark.gen_test
async def test_set_up_adds_no_secret_that_the_service_would_refuse(operator: Operator) -> None:
    operator.variables[SECRET_VARIABLE] = ",".join(f"whsec_{number}" for number in range(16))
    with pytest.raises(SetupError, match="16 are the maximum"):
        await operator.plan()


@pytest.mark.gen_test
async def test_secret_of_a_destination_is_not_taken_for_that_of_an_endpoint_made_by_hand(
    operator: Operator, sandbox: Sandbox
) -> None:
    endpoint: Any = sandbox.create_webhook_endpoint(URL, "whsec_madeByHandMadeByHandMadeByHand")
    # Without a digest, the secret in the file may be that of the endpoint.
    assert [one.problem for one in await operator.set_up(thin=False)] == [""] * 6
    assert [one.step.subject for one in await operator.set_up()] == [DESTINATION]
    first, _ = operator.variables[SECRET_VARIABLE].split(",")
    operator.variables[SECRET_VARIABLE] = first
    [missing] = await operator.set_up()
    assert missing.problem.startswith(f"that of {endpoint['id']} is missing")
    operator.variables[SECRET_VARIABLE] += ",whsec_madeByHandMadeByHandMadeByHand"
    assert await operator.set_up() == []


@pytest.mark.gen_test
async def test_endpoint_whose_secret_is_in_the_file_is_kept_and_a_second_one_is_named(
    operator: Operator, sandbox: Sandbox
) -> None:
    await operator.set_up(thin=False)
    [first] = operator.all(ENDPOINT)
    values = operator.variables[SECRET_VARIABLE]
    sandbox.call("POST", f"/v1/webhook_endpoints/{first.id}", url=f"{URL}/elsewhere")
    operator.variables[SECRET_VARIABLE] = OF_THE_CLI
    await operator.set_up(thin=False)
    [second] = [one for one in operator.all(ENDPOINT) if one.id != first.id]
    sandbox.call("POST", f"/v1/webhook_endpoints/{first.id}", url=URL)
    for kept, other in ((second, first), (first, second)):
        [result] = await operator.set_up(thin=False)
        assert result.problem.startswith(f"{other.id} has the same URL")
        assert other.id in result.by_hand
        unchanged = [one for one in await operator.plan(thin=False) if one.subject == ENDPOINT]
        assert [one.action for one in unchanged] == [Action.UNCHANGED]
        assert unchanged[0].detail.startswith(kept.id)
        operator.variables[SECRET_VARIABLE] = values
    sandbox.call("DELETE", f"/v1/webhook_endpoints/{second.id}")
    assert await operator.set_up(thin=False) == []
