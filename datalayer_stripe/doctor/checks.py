"""What a check is, and how its result is reported."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from .context import CheckContext


class Severity(StrEnum):
    """How bad it is if a check finds a problem."""

    ERROR = "error"
    """Payments, credits or the service itself do not work."""
    WARNING = "warning"
    """It works now, but people, operators or a later failure may suffer."""


class Status(StrEnum):
    """What a check has found."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    NOT_RUN = "not run"


CheckFunction = Callable[[CheckContext], Awaitable[Sequence[str]]]
"""Returns the problems, none if all is well. It raises CannotCheck if it cannot find out."""


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: Its name: the subject, a full stop and what is checked.
        title: What is true if there is no problem.
        severity: The severity of its problems.
        advice: How to fix them.
        find_problems: The function that checks it.
    """

    name: str
    title: str
    severity: Severity
    advice: str
    find_problems: CheckFunction


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        check: The name of the check.
        status: What was found.
        text: What is well, or the problem, or why the check did not run.
        advice: How to fix the problem; None if there is none.
    """

    check: str
    status: Status
    text: str
    advice: str | None = None

    @property
    def is_problem(self) -> bool:
        """Whether it is a warning or an error."""
        return self.status in (Status.WARNING, Status.ERROR)


class Subject:
    """The checks of one subject. A module of this package has one.

    Args:
        name: The first part of the names of its checks.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.checks: list[Check] = []

    def error(self, name: str, title: str, *, advice: str) -> Callable[[CheckFunction], Check]:
        """Decorate a function that finds errors.

        Args:
            name: What is checked.
            title: What is true if there is no problem.
            advice: How to fix the problem.
        """
        return self._check(name, title, Severity.ERROR, advice)

    def warning(self, name: str, title: str, *, advice: str) -> Callable[[CheckFunction], Check]:
        """Decorate a function that finds what to warn of.

        Args:
            name: What is checked.
            title: What is true if there is no problem.
            advice: How to fix the problem.
        """
        return self._check(name, title, Severity.WARNING, advice)

    def _check(
        self, name: str, title: str, severity: Severity, advice: str
    ) -> Callable[[CheckFunction], Check]:
        def register(function: CheckFunction) -> Check:
            check = Check(f"{self.name}.{name}", title, severity, advice, function)
            self.checks.append(check)
            return check

        return register
