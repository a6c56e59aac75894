"""A plugin that moves money and has too many calls to Stripe: the other plugins wait for it."""

import json
from collections.abc import Sequence

import pytest

from datalayer_stripe import Context, Defer, Event, Plugin
from datalayer_stripe.errors import RateLimited
from tests.support.app import recorded
from tests.support.shop import rows

PRICE = recorded("price.created")

money = Plugin("money-caller", moves_money=True)
mail = Plugin("mail-sender")
raises: list[Exception] = []
sent: list[str] = []


@money.on("price.created")
@money.on("tax_rate.created")
async def call(event: Event, ctx: Context) -> None:
    if raises:
        raise raises.pop()


@mail.on("price.created")
async def send(event: Event, ctx: Context) -> None:
    sent.append(event.id)


@pytest.fixture
def extra_plugins() -> Sequence[Plugin]:
    raises.clear()
    sent.clear()
    return [money, mail]


@pytest.mark.gen_test
async def test_others_wait_until_the_money_has_moved(api, service):
    raises.append(RateLimited())
    assert (await api.deliver(PRICE)).code == 503
    assert sent == []
    assert await rows(service, "jobs") == []
    assert (await api.deliver(PRICE)).code == 200
    assert sent == [json.loads(PRICE)["id"]]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("event_type", "error"),
    [("tax_rate.created", RateLimited()), ("price.created", Defer("busy", delay=60))],
)
async def test_deferred_if_no_plugin_waits_or_by_choice(api, service, event_type, error):
    await service.worker.stop(seconds=1)
    raises.append(error)
    body = json.dumps({**json.loads(PRICE), "type": event_type}).encode()
    assert (await api.deliver(body)).code == 200
    assert len(await rows(service, "jobs")) == 1
