"""The checks at the start of `serve`: in the log and in `/readyz`, never in its way."""

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta

import pytest

from datalayer_stripe.doctor import startup
from datalayer_stripe.doctor.checks import Check, Severity
from datalayer_stripe.doctor.context import CheckContext
from datalayer_stripe.doctor.startup import StartupChecks
from datalayer_stripe.errors import CannotCheck
from datalayer_stripe.handlers.urls import WEBHOOK_PATH
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.service import Service
from datalayer_stripe.testing.clock import Clock
from tests.support.app import WEBHOOK_SECRET, Api, json_of, recorded, sign
from tests.support.shop import Shop


class Findings:
    """The problems that a check finds, and the number of its runs."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.problems: list[str] = []
        self.error: Exception | None = None
        self.runs = 0
        self.ran = asyncio.Event()

    async def find(self, _: CheckContext) -> Sequence[str]:
        self.runs += 1
        self.ran.set()
        if self.error is not None:
            raise self.error
        return self.problems

    def checks(self, *, examines: bool = True) -> StartupChecks:
        """Return the task of a process that runs this check only."""
        check = Check("subject.name", "All is well.", Severity.ERROR, "Do it.", self.find)
        return StartupChecks(
            lambda: CheckContext(environ={}, webhook_path=WEBHOOK_PATH),
            self.service.check_results,
            self.service.store.check_reports,
            self.service.clock,
            examines=examines,
            checks=[check],
        )


@pytest.fixture
def findings(service: Service) -> Findings:
    return Findings(service)


async def warnings(api: Api) -> dict[str, str]:
    answer = await api.get("/readyz", account=None)
    assert answer.code == 200, "a finding does not make the service unready"
    return dict(json_of(answer)["warnings"])


@pytest.mark.gen_test
async def test_findings_are_logged_and_shown_until_they_are_fixed(
    api: Api, service: Service, findings: Findings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, startup.__name__)
    checks = findings.checks()
    findings.problems = ["The portal is closed.", "So is the shop."]
    await checks.examine_once()
    assert await warnings(api) == {"subject.name": "Do it."}, "anybody may read /readyz"
    assert caplog.messages == ["doctor: The portal is closed.", "doctor: So is the shop."]
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert vars(caplog.records[0])["check"] == "subject.name"
    assert vars(caplog.records[0])["advice"] == "Do it."

    await checks.examine_once()
    assert len(caplog.messages) == 2, "what is known is not logged again"

    findings.problems = []
    assert await checks.examine_once() == {}
    assert await warnings(api) == {}


@pytest.mark.gen_test
async def test_checks_repeat_while_there_are_problems(
    api: Api, findings: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(startup, "REPEAT_SECONDS", 0.0)
    findings.problems = ["The portal is closed."]
    async with findings.checks().running():
        while findings.runs < 3:
            findings.ran.clear()
            await findings.ran.wait()
        findings.problems = []
        while await warnings(api):
            pass
        runs = findings.runs
        await warnings(api)
    assert findings.runs == runs, "after a run without problems there is no other"


@pytest.mark.gen_test
async def test_slow_stripe_delays_neither_start_nor_readiness(
    api: Api,
    service: Service,
    sandbox: Sandbox,
    shop: Shop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called = asyncio.Event()

    def delay(_: str) -> float:
        called.set()
        return 3600.0

    monkeypatch.setattr(sandbox.api, "seconds", delay)
    async with service.startup_checks(webhook_path=WEBHOOK_PATH).running():
        await called.wait()
        assert await warnings(api) == {}


@pytest.mark.gen_test
async def test_checks_at_the_start_do_not_hide_that_all_deliveries_are_refused(
    api: Api, service: Service, sandbox: Sandbox, shop: Shop
) -> None:
    sandbox.create_webhook_endpoint(api.url + WEBHOOK_PATH, secret=WEBHOOK_SECRET)
    problems = await service.startup_checks(webhook_path=WEBHOOK_PATH).examine_once()
    assert "endpoint.exists" not in problems
    body = recorded("payment_intent.succeeded")
    await api.deliver(body, sign(body, secret="whsec_of_another_endpoint"))
    assert "no delivery verified" in (await warnings(api))["webhook"]


@pytest.mark.gen_test
async def test_check_that_cannot_run_is_no_warning(api: Api, findings: Findings) -> None:
    findings.error = CannotCheck("there is nothing")
    await findings.checks().examine_once()
    assert findings.runs == 1
    assert await warnings(api) == {}


@pytest.mark.gen_test
async def test_other_process_shows_what_one_has_found(
    api: Api, service: Service, findings: Findings, clock: Clock
) -> None:
    findings.problems = ["The portal is closed."]
    await findings.checks().examine_once()
    service.check_results.problems = {}
    follower = findings.checks(examines=False)
    async with follower.running():
        while not await warnings(api):
            pass
    assert findings.runs == 1
    assert list(await warnings(api)) == ["subject.name"]

    clock.offset += timedelta(hours=1)
    await follower.read_report()
    assert await warnings(api) == {}, "the process that has found it does not run any more"
