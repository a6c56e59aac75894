"""One short line for each webhook delivery and each change of the balance, as they happen."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .environment import ACCOUNT, DemoEnvironment

_DELIVERIES = logging.getLogger("datalayer_stripe.webhooks.delivery")


class _DeliveryLog(logging.Handler):
    """Hands on what the service logs of its deliveries."""

    def __init__(self, deliveries: asyncio.Queue[tuple[str, str]]) -> None:
        super().__init__(logging.INFO)
        self._deliveries = deliveries

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg == "delivery":
            fields = record.__dict__
            self._deliveries.put_nowait((fields["type"], fields["outcome"]))


async def watch(stage: DemoEnvironment, echo: Callable[[str], object]) -> None:
    """Tell of deliveries and of the demo account's balance, until cancelled."""
    accounts = stage.service.store.accounts
    credits = (await accounts.get(ACCOUNT)).credits
    with _delivery_log() as deliveries:
        while True:
            event_type, outcome = await deliveries.get()
            echo(f"webhook  {event_type} → {outcome}")
            before, credits = credits, (await accounts.get(ACCOUNT)).credits
            if credits != before:
                echo(f"credits  {before} → {credits}")


@contextmanager
def _delivery_log() -> Iterator[asyncio.Queue[tuple[str, str]]]:
    deliveries: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    handler, level = _DeliveryLog(deliveries), _DELIVERIES.level
    _DELIVERIES.addHandler(handler)
    _DELIVERIES.setLevel(min(logging.INFO, _DELIVERIES.getEffectiveLevel()))
    try:
        yield deliveries
    finally:
        _DELIVERIES.removeHandler(handler)
        _DELIVERIES.setLevel(level)
