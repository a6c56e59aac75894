"""A plugin that hangs, and the helpers of the load tests."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace

from tornado.httpclient import HTTPResponse

from datalayer_stripe import Context, Event, Plugin
from datalayer_stripe.service import Service
from tests.faults.cluster import wait_until
from tests.support.app import json_of, recorded
from tests.support.shop import rows

SUCCEEDED = "payment_intent.succeeded"
PROCESSING = "payment_intent.processing"
"""A type that moves no money: only the hanging plugin runs on it."""

_PAID = json.loads(recorded(SUCCEEDED))


def payment(account: str, number: int, padding: int = 0, *, event_type: str = SUCCEEDED) -> bytes:
    """Return the body of an event about another payment for each account and number.

    Args:
        account: The account.
        number: The number of the payment.
        padding: The length of the payment's description, to make the body long.
        event_type: The type of the event.
    """
    event = json.loads(json.dumps(_PAID))
    event["type"] = event_type
    event["id"] = f"evt_{account}_{number}"
    intent = event["data"]["object"]
    intent["id"] = f"pi_{account}_{number}"
    intent["customer"] = None
    intent["description"] = "x" * padding
    intent["metadata"]["account_uid"] = account
    return json.dumps(event).encode()


class HangingPlugin:
    """A plugin that hangs on the events of some accounts until it is released.

    Attributes:
        hangs_for: Returns whether it hangs on the events of an account.
        released: Set to end all runs.
        running: The number of runs that hang now.
        max_running: The maximum of `running`.
    """

    def __init__(self) -> None:
        self.hangs_for: Callable[[str], bool] = lambda _: True
        self.released = asyncio.Event()
        self.running = 0
        self.max_running = 0
        self.plugin = Plugin("hanging", order=1, timeout=10)

        @self.plugin.on(SUCCEEDED, PROCESSING)
        async def hang(event: Event, ctx: Context) -> None:
            ctx.collection.update_one({"_id": event.id}, {"$inc": {"n": 1}}, upsert=True)
            if self.hangs_for(event.object["metadata"]["account_uid"]):
                self.running += 1
                self.max_running = max(self.max_running, self.running)
                try:
                    await self.released.wait()
                finally:
                    self.running -= 1

    def limit_to(self, seconds: float) -> None:
        """Set the time limit of a run."""
        registrations = self.plugin._registrations
        for name, registration in registrations.items():
            registrations[name] = replace(registration, seconds=seconds)

    async def wait_until_running(self, number: int) -> None:
        """Wait until this many runs hang."""

        async def reached() -> bool:
            return self.running == number

        await wait_until(reached, f"{self.running} runs hang, not {number}")


def in_flight(service: Service) -> float:
    """Return the metric of the deliveries in flight."""
    value = service.metrics.registry.get_sample_value("datalayer_stripe_deliveries_in_flight")
    assert value is not None
    return value


def deliveries_with(service: Service, outcome: str) -> float:
    """Return the metric of the deliveries with this outcome."""
    return sum(
        sample.value
        for family in service.metrics.registry.collect()
        for sample in family.samples
        if sample.name == "datalayer_stripe_deliveries_total"
        and sample.labels["outcome"] == outcome
    )


def assert_overloaded(responses: Sequence[HTTPResponse]) -> None:
    """Check that deliveries were refused because too many are in flight."""
    for response in responses:
        assert response.code == 503
        assert json_of(response)["code"] == "overloaded"
        assert int(response.headers["Retry-After"]) > 0


async def committed_runs(service: Service) -> list[int]:
    """Return how often the hanging plugin committed its write, for each event."""
    return [row["n"] for row in await rows(service, "plugin_hanging")]
