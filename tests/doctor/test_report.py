"""How the checks are run, and how their findings are reported."""

import asyncio
import logging
from collections.abc import Sequence

import pytest

from datalayer_stripe.doctor import report
from datalayer_stripe.doctor.checks import Check, Finding, Severity, Status
from datalayer_stripe.doctor.context import CheckContext
from datalayer_stripe.doctor.report import CHECKS, as_json, exit_code, run_checks
from datalayer_stripe.errors import (
    CannotCheck,
    RateLimited,
    StoreUnavailable,
    StripeKeyRefused,
    StripePermissionMissing,
    StripeUnavailable,
)
from datalayer_stripe.stripe_api.permits import CallRates
from datalayer_stripe.stripe_api.rate_limit import CallLimiter

CONTEXT = CheckContext(environ={}, webhook_path="/webhook")


def check(
    *problems: str, error: Exception | None = None, severity: Severity = Severity.ERROR
) -> Check:
    async def find_problems(_: CheckContext) -> Sequence[str]:
        if error is not None:
            raise error
        return problems

    return Check("subject.name", "All is well.", severity, "Do it.", find_problems)


def finding(status: Status) -> Finding:
    return Finding("subject.name", status, "text")


def test_names_of_checks_are_unique() -> None:
    names = [check.name for check in CHECKS]
    assert len(names) == len(set(names))


def test_each_check_has_a_title_and_an_advice() -> None:
    for one in CHECKS:
        assert one.title.endswith("."), one.name
        assert one.advice.endswith("."), one.name
        width = max(len(other.name) for other in CHECKS)
        assert len(f"not run  {' ' * width}  {one.title}") <= 80, one.name


@pytest.mark.gen_test
async def test_check_without_problems_is_ok() -> None:
    assert await run_checks(CONTEXT, [check()]) == [
        Finding("subject.name", Status.OK, "All is well.")
    ]


@pytest.mark.parametrize("severity", Severity)
@pytest.mark.gen_test
async def test_each_problem_is_a_finding_with_the_advice(severity: Severity) -> None:
    found = await run_checks(CONTEXT, [check("One.", "Two.", severity=severity)])
    assert [(one.status.value, one.text, one.advice) for one in found] == [
        (severity.value, "One.", "Do it."),
        (severity.value, "Two.", "Do it."),
    ]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (CannotCheck("nothing was sold yet"), "nothing was sold yet"),
        (StripeUnavailable(), "Stripe does not answer"),
        (StripeKeyRefused(), "Stripe refuses the key"),
        (
            StripePermissionMissing("webhook_read", "webhook_endpoints.list"),
            "the key lacks the permission webhook_read (Webhook Endpoints: Read)",
        ),
        (StoreUnavailable(), "the database does not answer"),
        (RateLimited(), "there are too many calls to Stripe at the moment"),
        (TimeoutError(), "there was no answer (TimeoutError)"),
    ],
)
@pytest.mark.gen_test
async def test_check_that_cannot_run_says_why(error: Exception, reason: str) -> None:
    assert await run_checks(CONTEXT, [check(error=error)]) == [
        Finding("subject.name", Status.NOT_RUN, reason)
    ]


@pytest.mark.gen_test
async def test_check_that_fails_does_not_end_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR, report.__name__)
    found = await run_checks(CONTEXT, [check(error=KeyError("sk_test_secret")), check()])
    assert [one.status for one in found] == [Status.WARNING, Status.OK]
    assert found[0].text == "The check itself has failed (KeyError)."
    assert caplog.messages == ["check failed"]


@pytest.mark.gen_test
async def test_check_that_takes_too_long_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "CHECK_SECONDS", 0.0)

    async def wait(_: CheckContext) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    slow = Check("subject.slow", "All is well.", Severity.ERROR, "Do it.", wait)
    [found] = await run_checks(CONTEXT, [slow])
    assert found.status is Status.NOT_RUN


@pytest.mark.gen_test
async def test_checks_share_the_permits_of_the_service() -> None:
    limiter = CallLimiter(CallRates(total=0.001, operation=0.001))

    async def call_twice(_: CheckContext) -> Sequence[str]:
        await limiter.wait("prices.list")
        await limiter.wait("prices.list")
        return []

    busy = Check("subject.busy", "All is well.", Severity.ERROR, "Do it.", call_twice)
    [found] = await run_checks(CONTEXT, [busy])
    assert found.status is Status.NOT_RUN
    assert "too many calls" in found.text


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        ([], 0),
        ([Status.OK, Status.NOT_RUN], 0),
        ([Status.OK, Status.WARNING], 1),
        ([Status.ERROR, Status.WARNING, Status.OK], 2),
    ],
)
def test_exit_code_is_that_of_the_worst_finding(statuses: list[Status], code: int) -> None:
    assert exit_code(map(finding, statuses)) == code


def test_json_has_counts_and_findings() -> None:
    found = [finding(Status.OK), Finding("a.b", Status.ERROR, "Wrong.", "Do it.")]
    assert as_json(found) == {
        "counts": {"ok": 1, "warning": 0, "error": 1, "not run": 0},
        "findings": [
            {"check": "subject.name", "status": "ok", "text": "text", "advice": None},
            {"check": "a.b", "status": "error", "text": "Wrong.", "advice": "Do it."},
        ],
    }
