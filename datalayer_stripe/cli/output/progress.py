"""Progress bar of a command that takes long."""

from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from .terminal import clean, open_console, pluralize

_BAR_WIDTH = 30  # in characters


class ProgressBar:
    """Progress bar on stderr, in a `with` block. It is erased at the end of the block.

    It prints nothing if stderr is not a terminal, or one that cannot erase.
    """

    def __init__(self) -> None:
        console = open_console(err=True)
        self._is_shown = console.is_interactive
        self._progress = Progress(
            BarColumn(_BAR_WIDTH),
            TaskProgressColumn(),
            TextColumn("{task.description}", markup=False),
            console=console,
            transient=True,
            # What is piped from stdout must not get onto the terminal.
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not self._is_shown,
        )
        self._task = self._progress.add_task("", total=None, visible=False)

    def __enter__(self) -> Self:
        if self._is_shown:
            self._progress.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._is_shown:
            self._progress.stop()

    def show(self, text: str, *, done: float | None = None) -> None:
        """Show a text beside the bar.

        Args:
            text: The text.
            done: The part that is done, from 0 to 1. None if it is not known.
        """
        self._progress.reset(self._task, total=None if done is None else 1, visible=True)
        self._progress.update(
            self._task, completed=min(max(done or 0, 0), 1), description=clean(text)
        )

    def show_checked(self, kind: str, checked: int, done: float | None) -> None:
        """Show how many objects have been checked.

        Args:
            kind: The kind of object, in the singular.
            checked: How many of this kind have been checked.
            done: The part of this kind that is done, from 0 to 1. None if it is not known.
        """
        self.show(f"{pluralize(checked, kind)} checked …", done=done)


class SweepProgress(ProgressBar):
    """Progress bar of a run over Stripe's lists.

    Stripe's lists have no total count. They start with the newest object, so the bar shows the
    part of the time from now back to `since` that is done.

    Args:
        since: The time of the oldest object that will be checked. None shows no percentage.
    """

    def __init__(self, since: datetime | None = None) -> None:
        super().__init__()
        self._since = since
        self._started_at = datetime.now(UTC)

    def __call__(self, kind: str, checked: int, created: int | None) -> None:
        """Show the progress.

        Args:
            kind: The kind of object, in the singular.
            checked: How many of this kind have been checked.
            created: The creation time of the last one, in epoch seconds. 0 at the end.
        """
        self.show_checked(kind, checked, self._done(created))

    def _done(self, created: int | None) -> float | None:
        if self._since is None or created is None:
            return None
        total = (self._started_at - self._since).total_seconds()
        return (self._started_at.timestamp() - created) / total
