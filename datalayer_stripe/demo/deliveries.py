"""Print one line for each webhook delivery, and one for each change of the balance."""

import asyncio
from collections.abc import Callable

from rich.text import Text

from ..events import Event
from ..webhooks.observers import Observer
from ..webhooks.outcome import Outcome
from .environment import ACCOUNT, DemoEnvironment

Echo = Callable[[str | Text], object]
"""Prints a line, which may have styles."""

Deliveries = asyncio.Queue[tuple[str, Outcome]]


class _DeliveryQueue(Observer):
    """Observer that puts the event type and the outcome of each delivery into a queue."""

    def __init__(self, deliveries: Deliveries) -> None:
        self._deliveries = deliveries

    def on_delivery(self, event: Event, outcome: Outcome) -> None:
        """Enqueue the delivery: reading the balance needs a coroutine."""
        self._deliveries.put_nowait((event.type, outcome))


async def print_deliveries(environment: DemoEnvironment, echo: Echo) -> None:
    """Print deliveries and the balance of the demo's account, until cancelled.

    Args:
        environment: The running demo.
        echo: Called with each line to print.
    """
    service = environment.service
    accounts = service.store.accounts
    deliveries: Deliveries = asyncio.Queue()
    credits = (await accounts.get(ACCOUNT)).credits
    with service.observers.observed_by(_DeliveryQueue(deliveries)):
        while True:
            event_type, outcome = await deliveries.get()
            echo(f"webhook  {event_type} → {outcome}")
            before, credits = credits, (await accounts.get(ACCOUNT)).credits
            if credits != before:
                echo(f"credits  {before} → {credits}")
