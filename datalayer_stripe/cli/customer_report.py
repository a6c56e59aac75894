"""What `customers import` and `customers sync` print."""

from collections.abc import Sequence
from dataclasses import asdict

import click

from ..provisioning.customer_links import CustomerResult, Outcome
from .output import ProgressLine, pluralize, print_json, print_table, progress_bar


class CustomerReport:
    """The results of one run, and the progress line while it runs.

    Args:
        refused: The lines of the file that cannot be used.
    """

    def __init__(self, refused: Sequence[CustomerResult]) -> None:
        self.added: list[CustomerResult] = []
        self.refused = list(refused)
        self.progress = ProgressLine()
        self.is_complete = False
        self._already = 0
        self._done = 0
        self._total: int | None = None
        self._customers = 0

    def count_customers(self, number: int) -> None:
        """Add a page of customers that was read from Stripe, and show how many were read."""
        self._customers += number
        self.progress.show(f"{pluralize(self._customers, 'customer')} read …")

    def expect(self, total: int) -> None:
        """Show a bar for this number of accounts."""
        self._total = total

    def add(self, result: CustomerResult) -> None:
        """Add the result of an account."""
        match result.outcome:
            case Outcome.ADDED:
                self.added.append(result)
            case Outcome.ALREADY:
                self._already += 1
            case Outcome.REFUSED:
                self.refused.append(result)
        self._done += 1
        bar = progress_bar(self._done / self._total) if self._total else ""
        self.progress.show(f"{bar}{pluralize(self._done, 'account')} checked …")

    def print_json(self, *, dry_run: bool) -> None:
        """Print the results, for other programs."""
        print_json(
            {
                "added": [_shown(result) for result in self.added],
                "already": self._already,
                "refused": [_shown(result) for result in self.refused],
                "dry_run": dry_run,
                "complete": self.is_complete,
            }
        )

    def print_text(self, verbs: tuple[str, str], *, dry_run: bool) -> None:
        """Print the refusals and the numbers.

        Args:
            verbs: What the command does with a customer: the infinitive, and the past tense.
            dry_run: Whether nothing was changed.
        """
        if self.refused:
            rows = [
                (str(one.line or "-"), one.account_uid or "-", one.customer_id or "-", one.reason)
                for one in self.refused
            ]
            print_table(
                ("LINE", "ACCOUNT", "CUSTOMER", "NOT DONE"),
                [(*cells, reason or "") for *cells, reason in rows],
            )
        done = f"Would {verbs[0]}" if dry_run else verbs[1]
        counts = [
            f"{done} {pluralize(len(self.added), 'customer')}",
            f"{pluralize(self._already, 'account')} had one",
        ]
        if self.refused:
            counts.append(f"{len(self.refused):,} not done")
        click.echo("; ".join(counts) + ".")
        if not self.is_complete:
            click.echo("The command ended early. Run it again: it does what is left.")


def _shown(result: CustomerResult) -> dict[str, object]:
    return {name: value for name, value in asdict(result).items() if name != "outcome" and value}
