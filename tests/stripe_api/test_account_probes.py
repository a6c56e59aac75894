"""What the keys may do is found out without any change at Stripe."""

from collections.abc import Iterator

import pytest
from tornado.ioloop import IOLoop

from datalayer_stripe.errors import RateLimited, StripeKeyRefused, StripeUnavailable
from datalayer_stripe.metrics import Metrics
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.stripe_api.account_probes import PERMISSION_PROBES, AccountProbes
from datalayer_stripe.stripe_api.client import StripeClient
from datalayer_stripe.stripe_api.permissions import service_permissions
from datalayer_stripe.stripe_api.permits import CallRates
from datalayer_stripe.stripe_api.rate_limit import CallLimiter, own_calls
from datalayer_stripe.testing.clock import Clock
from tests.support.shop import Buyer, Shop

Clients = list[StripeClient]


@pytest.fixture
def clients(io_loop: IOLoop) -> Iterator[Clients]:
    """Return the list of the clients to close at the end."""
    opened: Clients = []
    yield opened
    for client in opened:
        io_loop.run_sync(client.close)


def probes_of(
    clients: Clients, sandbox: Sandbox, key: str, limiter: CallLimiter | None = None
) -> AccountProbes:
    client = StripeClient(key, metrics=Metrics(), api_base=sandbox.url, limiter=limiter)
    clients.append(client)
    return AccountProbes(client.transport)


@pytest.mark.parametrize("permission", PERMISSION_PROBES)
@pytest.mark.gen_test
async def test_missing_permission_is_found(
    clients: Clients, sandbox: Sandbox, permission: str
) -> None:
    others = set(PERMISSION_PROBES) - {permission}
    probes = probes_of(clients, sandbox, sandbox.create_restricted_key(others))
    lacking = [one for one in PERMISSION_PROBES if await probes.lacks_permission(one)]
    assert lacking == [permission]


def test_probes_are_about_the_permissions_of_the_service() -> None:
    assert sorted(PERMISSION_PROBES) == service_permissions()


@pytest.mark.gen_test
async def test_probes_change_nothing(clients: Clients, buyer: Buyer, sandbox: Sandbox) -> None:
    await buyer.subscribe()
    objects, events = sandbox.objects, list(sandbox.events)
    probes = probes_of(clients, sandbox, sandbox.secret_key)
    for permission in PERMISSION_PROBES:
        assert not await probes.lacks_permission(permission)
    assert await probes.accepts_publishable_key(sandbox.publishable_key) is True
    assert sandbox.objects == objects
    assert sandbox.events == events


@pytest.mark.gen_test
async def test_revoked_key_is_no_missing_permission(clients: Clients, sandbox: Sandbox) -> None:
    probes = probes_of(clients, sandbox, "rk_test_revoked")
    with pytest.raises(StripeKeyRefused):
        await probes.lacks_permission("customer_write")


@pytest.mark.gen_test
async def test_publishable_key_without_a_payment_to_read(
    clients: Clients, sandbox: Sandbox
) -> None:
    probes = probes_of(clients, sandbox, sandbox.secret_key)
    assert await probes.accepts_publishable_key(sandbox.publishable_key) is None
    assert await probes.accepts_publishable_key("pk_test_revoked") is False


@pytest.mark.gen_test
async def test_publishable_key_of_another_account_does_not_find_the_payment(
    clients: Clients, buyer: Buyer, sandbox: Sandbox
) -> None:
    await buyer.subscribe()
    probes = probes_of(clients, sandbox, sandbox.secret_key)
    [intent] = sandbox.call("GET", "/v1/payment_intents", limit=1)["data"]
    # Stripe answers 404, because the account of the publishable key has no such payment.
    sandbox.api.refuse(400, path_prefix=f"/v1/payment_intents/{intent['id']}")
    assert await probes.accepts_publishable_key(sandbox.publishable_key) is False


@pytest.mark.gen_test
async def test_time_of_stripe_and_of_this_machine(
    clients: Clients, sandbox: Sandbox, shop: Shop
) -> None:
    clock = Clock(frozen_at=None)
    probes = probes_of(clients, sandbox, sandbox.secret_key)
    theirs, ours = await probes.server_time(clock)
    assert abs((theirs - ours).total_seconds()) < 2
    clock.advance(hours=1)
    theirs, ours = await probes.server_time(clock)
    assert 3598 < (ours - theirs).total_seconds() < 3602


@pytest.mark.gen_test
async def test_probes_need_permits_of_the_shared_rate(clients: Clients, sandbox: Sandbox) -> None:
    limiter = CallLimiter(CallRates(total=0.001, operation=0.001))
    probes = probes_of(clients, sandbox, sandbox.secret_key, limiter)
    with own_calls(0.0):
        await probes.lacks_permission("event_read")
        with pytest.raises(RateLimited):
            await probes.lacks_permission("event_read")


@pytest.mark.gen_test
async def test_stripe_that_does_not_answer_is_no_missing_permission(
    clients: Clients, sandbox: Sandbox, quick_retries: None
) -> None:
    sandbox.api.refuse(503, times=100)
    probes = probes_of(clients, sandbox, sandbox.secret_key)
    with pytest.raises(StripeUnavailable):
        await probes.lacks_permission("customer_write")
