"""Tasks end although a cancellation is lost, as `asyncio.wait_for` of Python 3.11 loses one."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from datalayer_stripe import tasks
from datalayer_stripe.doctor.startup import StartupChecks
from datalayer_stripe.errors import StoreUnavailable
from datalayer_stripe.reconciliation import periodic as periodic_module
from datalayer_stripe.reconciliation.periodic import PeriodicReconciliation
from datalayer_stripe.service import Service
from datalayer_stripe.store.change_stream import StreamedChanges
from datalayer_stripe.tasks import cancel_and_wait


class LostCancellation:
    """A function that waits until its task is cancelled, and returns as if nothing had happened.

    All later calls fail at once.
    """

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.is_lost = False

    async def __call__(self, *_: Any, **__: Any) -> list[str]:
        if self.is_lost:
            raise StoreUnavailable
        self.entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.is_lost = True
        return []


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "_CANCEL_AGAIN_SECONDS", 0.01)


@asynccontextmanager
async def worker(service: Service, lost: LostCancellation, patch: Any) -> AsyncIterator[None]:
    patch.setattr(service.store.jobs, "plugins", lost)
    service.worker.start()
    yield
    await service.worker.stop(seconds=1)


@asynccontextmanager
async def open_events(service: Service, lost: LostCancellation, patch: Any) -> AsyncIterator[None]:
    patch.setattr(service.store.events, "open_count", lost)
    service.open_events.start()
    yield
    await service.open_events.stop()


@asynccontextmanager
async def reconciliation(
    service: Service, lost: LostCancellation, patch: Any
) -> AsyncIterator[None]:
    patch.setattr(periodic_module, "_MAX_CHECK_INTERVAL", timedelta(seconds=0.01))
    patch.setattr(PeriodicReconciliation, "run_if_due", lost)
    async with service.periodic_reconciliation().running():
        yield


@asynccontextmanager
async def checks_of_another_process(
    service: Service, lost: LostCancellation, patch: Any
) -> AsyncIterator[None]:
    patch.setattr(StartupChecks, "read_report", lost)
    async with service.startup_checks(webhook_path="/", examines=False).running():
        yield


@asynccontextmanager
async def change_stream(
    service: Service, lost: LostCancellation, patch: Any
) -> AsyncIterator[None]:
    changes = StreamedChanges(None, None)
    patch.setattr(changes, "_follow", lost)
    watching = asyncio.create_task(changes.watch("account", asyncio.Event()).__aenter__())
    yield
    await changes.close()
    await cancel_and_wait(watching)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "running", [worker, open_events, reconciliation, checks_of_another_process, change_stream]
)
async def test_task_of_the_service_ends(
    running: Callable[..., Any], service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = LostCancellation()
    async with asyncio.timeout(60), AsyncExitStack() as stack:
        await stack.enter_async_context(running(service, lost, monkeypatch))
        await lost.entered.wait()
    assert lost.is_lost


@pytest.mark.gen_test
async def test_tasks_that_have_ended_are_not_waited_for() -> None:
    async def fail() -> None:
        raise OSError("failed")

    failed = asyncio.create_task(fail())
    with pytest.raises(OSError, match="failed"):
        await failed
    waiting = asyncio.create_task(asyncio.Event().wait())
    await cancel_and_wait(failed, waiting)
    assert waiting.cancelled()
    await cancel_and_wait()
