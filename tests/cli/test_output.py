"""What commands print on a terminal and into a file."""

import os
import sys

import pytest

from datalayer_stripe.cli.output import width


@pytest.fixture
def terminal_of_60_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda _fallback: os.terminal_size((60, 24)))


@pytest.mark.usefixtures("terminal_of_60_columns")
def test_lines_fit_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert width() == 60


@pytest.mark.usefixtures("terminal_of_60_columns")
def test_lines_of_a_file_do_not_depend_on_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    assert width() == 100


def test_columns_sets_the_width_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "72")
    assert width() == 72
