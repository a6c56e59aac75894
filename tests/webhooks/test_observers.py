"""Observers are called with the outcomes of deliveries, runs and jobs, and can break nothing."""

import logging
from collections.abc import Sequence

import pytest

from datalayer_stripe import Context, Event, Plugin, Reject, Retry
from datalayer_stripe.service import Service
from datalayer_stripe.webhooks.observers import Observer
from datalayer_stripe.webhooks.outcome import Outcome
from tests.support.app import Api, recorded

PAID = recorded("payment_intent.succeeded")


class RecordingObserver(Observer):
    """Records the calls of its methods, without their events."""

    def __init__(self) -> None:
        self.deliveries: list[Outcome] = []
        self.runs: list[tuple[str, Outcome, str]] = []
        self.jobs: list[tuple[str, Outcome, int]] = []

    def on_delivery(self, event: Event, outcome: Outcome) -> None:
        self.deliveries.append(outcome)

    def on_run(
        self, plugin_name: str, event: Event, outcome: Outcome, error: Exception | None
    ) -> None:
        self.runs.append((plugin_name, outcome, repr(error)))

    def on_job(self, plugin_name: str, event: Event, outcome: Outcome, attempts: int) -> None:
        self.jobs.append((plugin_name, outcome, attempts))


@pytest.fixture
def extra_plugins() -> Sequence[Plugin]:
    rejecting, retrying, mailer = Plugin("rejecting"), Plugin("retrying"), Plugin("mailer")

    @rejecting.on("payment_intent.succeeded")
    async def reject(event: Event, ctx: Context) -> None:
        raise Reject("no such account")

    @retrying.on("payment_intent.succeeded")
    async def retry(event: Event, ctx: Context) -> None:
        raise Retry("not now")

    @mailer.on("payment_intent.succeeded", deferred=True)
    async def mail(event: Event, ctx: Context) -> None:
        raise Retry("no connection")

    return [rejecting, retrying, mailer]


@pytest.mark.gen_test
async def test_observer_is_called_with_each_outcome(api: Api, service: Service) -> None:
    observer = RecordingObserver()
    with service.observers.observed_by(observer):
        await api.deliver(PAID)
        await service.worker.run_due()
    await api.deliver(PAID)
    assert observer.deliveries == ["failed"]
    assert sorted(observer.runs) == [
        ("mailer", "deferred", "None"),
        ("mailer", "failed", "Retry('no connection')"),
        ("rejecting", "rejected", "Reject('no such account')"),
        ("retrying", "failed", "Retry('not now')"),
        ("top-up-credits", "processed", "None"),
    ]
    assert observer.jobs == [("mailer", "failed", 1)]


@pytest.mark.gen_test
async def test_error_of_an_observer_changes_neither_the_answer_nor_the_other_observers(
    api: Api, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Observer):
        def on_delivery(self, event: Event, outcome: Outcome) -> None:
            raise RuntimeError

    observer = RecordingObserver()
    caplog.set_level(logging.ERROR)
    with service.observers.observed_by(Broken()), service.observers.observed_by(observer):
        answer = await api.deliver(recorded("price.updated"))
    assert answer.code == 200
    assert observer.deliveries == ["processed"]
    assert "observer failed" in caplog.messages
