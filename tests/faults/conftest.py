"""A stage for the worlds that the fault tests break, and the report of what they tried."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.faults import report
from tests.faults.environment import Stage
from tests.faults.model import Books

_of_others: list[str] = []


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


# Where the tests run in several processes, each hands what it has tried to the one that reports.
_HANDED_OVER = "faults tried"


def pytest_sessionfinish(session: pytest.Session) -> None:
    report.write()
    handed_over = getattr(session.config, "workeroutput", None)
    if handed_over is not None:
        handed_over[_HANDED_OVER] = report.table()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take it over: pytest-xdist's hook."""
    _of_others.extend(getattr(node, "workeroutput", {}).get(_HANDED_OVER, []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = [*_of_others, *report.table()]
    if lines:
        terminalreporter.section("faults tried")
        for line in lines:
            terminalreporter.write_line(line)
