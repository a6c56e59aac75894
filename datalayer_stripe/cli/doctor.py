"""The command `doctor`: check the settings, Stripe, the database and the events."""

import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from rich.text import Text

from ..clock import Clock, system_clock
from ..composition import call_limiter
from ..configuration import Attempt, try_configuration
from ..doctor.account import StripeAccount
from ..doctor.checks import Finding, Status
from ..doctor.context import CheckContext
from ..doctor.report import as_json, exit_code, run_checks
from ..doctor.valid_settings import valid_settings
from ..errors import CannotCheck, StartError, StoreError
from ..handlers.urls import WEBHOOK_PATH
from ..logs import configure_logging
from ..metrics import Metrics
from ..provisioning.env_file import EnvFile
from ..settings import Settings, read_environment
from ..store import Store, connect
from ..store.connect import MEMORY_URL
from ..stripe_api.client import StripeClient
from .common import fail, run
from .output.exports import print_json
from .output.formats import Format
from .output.tables import Column, print_rows_as_csv
from .output.terminal import pluralize, print_line, print_paragraph, styled

# The status of a check is in front of its name.
_INDENT = len(Status.NOT_RUN.value) + 2

_COLUMNS: Sequence[Column[Finding]] = (
    Column("check", lambda one: one.check),
    Column("status", lambda one: one.status.value),
    Column("text", lambda one: one.text),
    Column("advice", lambda one: one.advice),
)

_COLORS = {Status.OK: "green", Status.WARNING: "yellow", Status.ERROR: "red"}


def doctor(url: str | None, env_file: Path | None, output: Format) -> None:
    """Check that the service is set up correctly, and say how to fix what is not."""
    # The findings say what the log would say.
    configure_logging(level="CRITICAL")
    if env_file is not None:
        _use_env_file(env_file)
    attempt = try_configuration()

    async def examine() -> list[Finding]:
        async with open_context(attempt, url=url) as context:
            return await run_checks(context)

    findings = run(examine())
    match output:
        case Format.JSON:
            print_json(as_json(findings))
        case Format.CSV:
            print_rows_as_csv(_COLUMNS, findings)
        case Format.TEXT:
            _print(findings)
    sys.exit(exit_code(findings))


@asynccontextmanager
async def open_context(
    attempt: Attempt,
    *,
    url: str | None = None,
    store: Store | None = None,
    clock: Clock = system_clock,
) -> AsyncIterator[CheckContext]:
    """Open what the checks look at, as far as the settings allow it.

    Args:
        attempt: What could be read from the environment.
        url: The public URL of the webhook, if it is known.
        store: Replaces the database of the settings. It is not closed.
        clock: Returns the present time.
    """
    wrong = {fault.variable for fault in attempt.faults}
    environment = read_environment()
    settings = attempt.settings or valid_settings(environment.values, wrong)
    context = CheckContext(
        environ=environment.values,
        webhook_path=WEBHOOK_PATH,
        hidden_files=environment.hidden,
        faults=attempt.faults,
        found_settings=settings,
        plugin_error=str(attempt.plugin_error) if attempt.plugin_error else None,
        found_registry=attempt.registry,
        endpoint_url=url,
        found_store=store,
        clock=clock,
    )
    async with AsyncExitStack() as closing:
        if settings is not None:
            if store is None:
                context = await _with_store(context, settings, closing)
            with suppress(CannotCheck):  # the check of the settings reports it
                context = _with_account(context, settings, closing)
        yield context


async def _with_store(
    context: CheckContext, settings: Settings, closing: AsyncExitStack
) -> CheckContext:
    """Return the context with the database, or with the reason why there is none."""
    try:
        url = settings.stripe_mongodb_url.get_secret_value()
        if url.startswith(MEMORY_URL):
            reason = "memory:// is in the memory of the service's own process"
            return replace(context, no_store=reason)
        store = await connect(
            url,
            livemode=settings.livemode,
            driver=settings.stripe_mongodb_driver,
            prepare=False,
        )
    except CannotCheck as error:
        return replace(context, no_store=str(error))
    except StoreError as error:
        return replace(context, store_error=str(error))
    closing.push_async_callback(store.close)
    return replace(context, found_store=store)


def _with_account(
    context: CheckContext, settings: Settings, closing: AsyncExitStack
) -> CheckContext:
    """Return the context with the Stripe account."""
    stripe = StripeClient(
        settings.stripe_api_key.get_secret_value(),
        metrics=Metrics(),
        api_base=settings.stripe_api_base,
        limiter=call_limiter(settings, context.found_store),
    )
    closing.push_async_callback(stripe.close)
    return replace(context, found_account=StripeAccount(stripe, settings, context.clock))


def _use_env_file(path: Path) -> None:
    """Set the variables of a file in place of those of the environment.

    If the file cannot be read, print the reason on stderr and exit with code 2.
    """
    try:
        values = dict(EnvFile.read(path))
    except StartError as error:
        fail(str(error))
    os.environ.update({name: one for name, one in values.items() if name.startswith("DATALAYER_")})


def _print(findings: Sequence[Finding]) -> None:
    """Print a line for each check, and one for all that did not run for the same reason."""
    width = max(len(finding.check) for finding in findings) + 2
    indent = " " * _INDENT
    not_run: dict[str, list[str]] = {}
    for finding in findings:
        if finding.status is Status.NOT_RUN:
            not_run.setdefault(finding.text, []).append(finding.check)
    ran = [finding for finding in findings if finding.status is not Status.NOT_RUN]
    for name, group in groupby(ran, key=lambda finding: finding.check):
        found = list(group)
        status = found[0].status
        label = styled(status.value.ljust(_INDENT), _COLORS.get(status, ""))
        if found[0].is_problem:
            print_line(label, styled(name, "bold"))
            for finding in found:
                print_paragraph(finding.text, prefix=indent)
            print_paragraph(f"To fix it: {found[0].advice}", prefix=indent)
        else:
            prefix = Text.assemble(label, name.ljust(width))
            print_paragraph(found[0].text, prefix=prefix)
    for reason, checks in not_run.items():
        print_paragraph(f"{reason}:", prefix=Status.NOT_RUN.value.ljust(_INDENT))
        print_paragraph(", ".join(checks), prefix=indent)
    counts = Counter(finding.status for finding in findings)
    summary = [
        pluralize(counts[Status.ERROR], "error"),
        pluralize(counts[Status.WARNING], "warning"),
        f"{counts[Status.OK]:,} ok",
        f"{counts[Status.NOT_RUN]:,} not run",
    ]
    print_line(f"{', '.join(summary)}.")
