"""The commands `customers import` and `customers sync`."""

import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import click

from ..errors import InvalidRequest
from ..provisioning.customer_files import read_accounts, read_links
from ..provisioning.customer_links import CustomerResult
from ..provisioning.customers import CustomerImport, CustomerSync
from ..service import Service
from .common import command_service, fail, run
from .customer_report import CustomerReport
from .output.formats import Format

T = TypeVar("T")


def import_customers(file: Path | None, key: str | None, dry_run: bool, output: Format) -> None:
    """Link existing customers of Stripe to accounts."""
    if (file is None) == (key is None):
        raise click.UsageError("Use either FILE or --from-metadata KEY.")
    links, refused = _read(file, read_links) if file else (None, [])

    async def work(service: Service, report: CustomerReport) -> None:
        task = CustomerImport(
            service.store,
            service.stripe,
            service.subscriptions,
            service.clock,
            livemode=service.settings.livemode,
            dry_run=dry_run,
            on_result=report.add,
        )
        found = links
        if key is not None:
            found, in_metadata = await task.links_in_metadata(key, report.count_customers)
            report.refused += in_metadata
        found = found or []
        report.expect(len(found))
        await task.run(found)

    _run(work, refused, verbs=("link", "Linked"), dry_run=dry_run, output=output)


def sync_customers(file: Path | None, dry_run: bool, output: Format) -> None:
    """Create a customer for each account that lacks one."""
    accounts, refused = _read(file, read_accounts) if file else (None, [])

    async def work(service: Service, report: CustomerReport) -> None:
        task = CustomerSync(service.store, service.customers, dry_run=dry_run, on_result=report.add)
        if accounts is None:
            await task.run_for_all()
        else:
            report.expect(len(accounts))
            await task.run(accounts)

    _run(work, refused, verbs=("create", "Created"), dry_run=dry_run, output=output)


def _read(
    file: Path, read: Callable[[Iterable[str]], tuple[list[T], list[CustomerResult]]]
) -> tuple[list[T], list[CustomerResult]]:
    try:
        with file.open(encoding="utf-8-sig", errors="replace") as lines:
            return read(lines)
    except (InvalidRequest, OSError) as error:
        fail(f"{file}: {error}")


def _run(
    work: Callable[[Service, CustomerReport], Awaitable[None]],
    refused: Sequence[CustomerResult],
    *,
    verbs: tuple[str, str],
    dry_run: bool,
    output: Format,
) -> None:
    """Do the work with a service, print the result of each account, and exit with 1 on refusals.

    Args:
        work: Does the work, and adds its results to the report.
        refused: The lines of the file that cannot be used.
        verbs: What the command does with a customer: the infinitive, and the past tense.
        dry_run: Whether nothing is changed.
        output: The format of the report.
    """
    report = CustomerReport(refused)

    async def work_with_service() -> None:
        async with command_service() as service:
            await work(service, report)
            report.is_complete = True

    try:
        with report.progress:
            run(work_with_service())
    finally:
        # After an error, report what was done before it, if anything was.
        if report.is_complete or report.added or report.refused:
            report.print(output, verbs, dry_run=dry_run)
    if report.refused:
        sys.exit(1)
