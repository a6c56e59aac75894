"""What `customers import` and `customers sync` print."""

from collections.abc import Sequence
from dataclasses import asdict

from ..provisioning.customer_links import CustomerResult, Outcome
from .output.exports import print_json
from .output.formats import Format
from .output.progress import ProgressBar
from .output.tables import Column, print_rows_as_csv, print_table
from .output.terminal import pluralize, print_line

_COLUMNS: Sequence[Column[CustomerResult]] = (
    Column("outcome", lambda one: one.outcome.value),
    Column("line", lambda one: one.line, head="LINE"),
    Column("account_uid", lambda one: one.account_uid, head="ACCOUNT"),
    Column("customer_id", lambda one: one.customer_id, head="CUSTOMER"),
    Column("reason", lambda one: one.reason, head="NOT DONE", text=lambda one: one.reason or ""),
)


class CustomerReport:
    """The results of one run, and the progress line while it runs.

    Args:
        refused: The lines of the file that cannot be used.
    """

    def __init__(self, refused: Sequence[CustomerResult]) -> None:
        self.added: list[CustomerResult] = []
        self.refused = list(refused)
        self.progress = ProgressBar()
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
        done = self._done / self._total if self._total else None
        self.progress.show(f"{pluralize(self._done, 'account')} checked …", done=done)

    def print(self, output: Format, verbs: tuple[str, str], *, dry_run: bool) -> None:
        """Print the results.

        Args:
            output: The format. CSV has the accounts that were added and those that were refused.
            verbs: What the command does with a customer: the infinitive, and the past tense.
            dry_run: Whether nothing was changed.
        """
        match output:
            case Format.JSON:
                self._print_json(dry_run=dry_run)
            case Format.CSV:
                print_rows_as_csv(_COLUMNS, [*self.added, *self.refused])
            case Format.TEXT:
                self._print_text(verbs, dry_run=dry_run)

    def _print_json(self, *, dry_run: bool) -> None:
        print_json(
            {
                "added": [_shown(result) for result in self.added],
                "already": self._already,
                "refused": [_shown(result) for result in self.refused],
                "dry_run": dry_run,
                "complete": self.is_complete,
            }
        )

    def _print_text(self, verbs: tuple[str, str], *, dry_run: bool) -> None:
        if self.refused:
            print_table(_COLUMNS, self.refused)
        done = f"Would {verbs[0]}" if dry_run else verbs[1]
        counts = [
            f"{done} {pluralize(len(self.added), 'customer')}",
            f"{pluralize(self._already, 'account')} had one",
        ]
        if self.refused:
            counts.append(f"{len(self.refused):,} not done")
        print_line("; ".join(counts) + ".")
        if not self.is_complete:
            print_line("The command ended early. Run it again: it does what is left.")


def _shown(result: CustomerResult) -> dict[str, object]:
    return {name: value for name, value in asdict(result).items() if name != "outcome" and value}
