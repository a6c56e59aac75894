"""The runner of the simulations, and the report of what the fault tests tried."""

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.faults import report
from tests.faults.model import ServiceModel
from tests.faults.runner import SimulationRunner

_other_workers_lines: list[str] = []


@pytest.fixture
def runner(mongodb_url: str) -> Iterator[SimulationRunner]:
    """Yield a runner of simulations. Their many failures are not logged."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    logging.disable(logging.CRITICAL)
    runner = SimulationRunner(mongodb_url, loop)
    yield runner
    runner.close()
    logging.disable(logging.NOTSET)
    loop.run_until_complete(loop.shutdown_default_executor())
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture
def model(runner: SimulationRunner, monkeypatch: pytest.MonkeyPatch) -> type[ServiceModel]:
    """Return the model, with its runner."""
    monkeypatch.setattr(ServiceModel, "runner", runner, raising=False)
    return ServiceModel


@pytest.fixture(scope="session")
def quick() -> settings:
    """Return settings with the same few stories in each run, so that a failure can be repeated."""
    return settings(
        max_examples=40,
        stateful_step_count=20,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )


# With pytest-xdist, each worker sends its lines to the process that prints the report.
_WORKER_OUTPUT = "fault report"


def pytest_sessionfinish(session: pytest.Session) -> None:
    report.write()
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output[_WORKER_OUTPUT] = report.table()


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Get the lines of a worker: pytest-xdist's hook."""
    _other_workers_lines.extend(getattr(node, "workeroutput", {}).get(_WORKER_OUTPUT, []))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = [*_other_workers_lines, *report.table()]
    if lines:
        terminalreporter.section("fault report")
        for line in lines:
            terminalreporter.write_line(line)
