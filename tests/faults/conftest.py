"""A stage for the worlds that the fault tests break, and the report of what they tried."""

import asyncio
import logging
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.faults import report
from tests.faults.model import Books
from tests.faults.stage import Stage


@pytest.fixture
def stage(mongodb_url: str) -> Iterator[Stage]:
    """Where worlds live, one after the other. Their many failures are not logged."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    logging.disable(logging.CRITICAL)
    stage = Stage(mongodb_url, loop)
    yield stage
    stage.close()
    logging.disable(logging.NOTSET)
    loop.run_until_complete(loop.shutdown_default_executor())
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture
def books(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> type[Books]:
    """The model, on its stage."""
    monkeypatch.setattr(Books, "stage", stage, raising=False)
    return Books


@pytest.fixture(scope="session")
def quick() -> settings:
    """The same few stories in each run, so that what is found next is not found by chance."""
    return settings(
        max_examples=40,
        stateful_step_count=20,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = report.table()
    if lines:
        report.write()
        terminalreporter.section("faults tried")
        for line in lines:
            terminalreporter.write_line(line)
