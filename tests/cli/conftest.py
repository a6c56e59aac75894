"""Fixtures of the tests of the commands."""

import pytest


@pytest.fixture(autouse=True)
def lines_as_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands print lines as into a file, whatever terminal the tests were started in."""
    monkeypatch.delenv("COLUMNS", raising=False)
