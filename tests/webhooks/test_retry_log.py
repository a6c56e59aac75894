"""A plugin that raises Retry is logged as INFO: it runs again, and no operator has to act."""

import logging

import pytest

from datalayer_stripe import Context, Event, Plugin, Retry
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import Api, json_of, recorded
from tests.support.shop import Buyer


@pytest.fixture
def extra_plugins() -> list[Plugin]:
    plugin = Plugin("waiting")

    @plugin.on("price.created", deferred=True)
    async def wait(event: Event, ctx: Context) -> None:
        raise Retry("not now")

    return [plugin]


@pytest.mark.gen_test
async def test_dispute_that_waits_for_its_top_up_is_not_logged_as_an_error(
    buyer: Buyer, sandbox: Sandbox, webhooks: Webhooks, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "datalayer_stripe")
    await buyer.subscribe()
    webhooks.hold()
    started = json_of(await buyer.ask_to_buy())
    sandbox.confirm_payment(started["client_secret"], "4000000000000259")
    webhooks.release("reversed")
    await webhooks.settle()
    assert await buyer.credits() == 0
    assert [one for one in caplog.records if one.levelno >= logging.ERROR] == []
    [line, *_] = [one for one in caplog.records if one.message == "plugin asked to retry"]
    assert line.__dict__["plugin"] == "disputes"
    assert line.__dict__["error"].startswith("not credited yet: pi_")


@pytest.mark.gen_test
async def test_deferred_job_that_asks_to_retry_is_not_logged_as_an_error(
    api: Api, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "datalayer_stripe")
    await api.deliver(recorded("price.created"))
    await service.worker.run_due()
    assert [one.levelname for one in caplog.records if one.message == "plugin asked to retry"] == [
        "INFO"
    ]
    assert [one for one in caplog.records if one.levelno > logging.INFO] == []
