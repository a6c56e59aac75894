"""Log lines of plugins have their event and account in a reconciliation, too."""

import json
import logging
from collections.abc import Sequence
from datetime import timedelta

import pytest

from datalayer_stripe import Context, Event, Plugin
from datalayer_stripe.logs import JsonFormatter
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import ACCOUNT, Clock
from tests.support.shop import Buyer


class FormattingHandler(logging.Handler):
    """Formats each line while its context is set."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, object]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(JsonFormatter().format(record)))


@pytest.fixture
def extra_plugins() -> Sequence[Plugin]:
    plugin = Plugin("logging", catch_up=True)

    @plugin.on("payment_intent.succeeded")
    async def log(event: Event, ctx: Context) -> None:
        ctx.log.warning("seen")

    return [plugin]


@pytest.mark.gen_test
async def test_log_line_of_a_reconciled_event_has_its_event_and_account(
    buyer: Buyer, webhooks: Webhooks, service: Service, clock: Clock
) -> None:
    await buyer.subscribe()
    webhooks.drop(1000)
    await buyer.buy()
    handler, logger = FormattingHandler(), logging.getLogger("datalayer_stripe.plugins")
    logger.addHandler(handler)
    try:
        await service.reconciliation().run(clock() - timedelta(days=1))
    finally:
        logger.removeHandler(handler)
    [line] = [one for one in handler.lines if one["message"] == "seen" and "account_uid" in one]
    assert line["account_uid"] == ACCOUNT
    assert str(line["event_id"]).startswith("evt_")
