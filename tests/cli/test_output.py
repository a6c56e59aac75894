"""What commands print on a terminal and into a file, as text, JSON and CSV."""

import csv
import io
import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from unittest.mock import ANY

import click
import pytest
from click.testing import CliRunner

from datalayer_stripe.cli.output.exports import print_json
from datalayer_stripe.cli.output.formats import Format, format_options
from datalayer_stripe.cli.output.progress import SweepProgress
from datalayer_stripe.cli.output.tables import Column, print_rows, print_table
from datalayer_stripe.cli.output.terminal import (
    open_console,
    print_command,
    print_error,
    print_line,
    print_paragraph,
    styled,
    width,
)

Row = tuple[str, int | None, str]
ID = "evt_1S" + "x" * 90
URL = "https://example.com/" + "y" * 120
COLUMNS: Sequence[Column[Row]] = (
    Column("id", lambda row: row[0], head="ID", style=lambda _: "green"),
    Column("credits", lambda row: row[1], head="CREDITS"),
    Column("types", lambda row: row[2].split()),
    Column("text", lambda row: row[2], head="TEXT"),
)


@pytest.fixture
def terminal_of_60_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda *_, **__: os.terminal_size((60, 24)))
    for name in ("NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture
def on_terminal(
    terminal_of_60_columns: None, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], None]:
    """Return a function that makes stdout and stderr terminals of 60 columns."""

    def change() -> None:
        for stream in (sys.stdout, sys.stderr):
            monkeypatch.setattr(stream, "isatty", lambda: True)

    return change


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


@pytest.mark.usefixtures("terminal_of_60_columns")
def test_table_wraps_only_the_last_column_and_breaks_no_word(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = f"{'one two ' * 10}{'y' * 80} end"
    print_table(COLUMNS, [("evt_", None, text)], detail=lambda row: row[2])
    heads, *lines = capsys.readouterr().out.splitlines()
    assert heads == "ID    CREDITS  TEXT"
    indent = " " * (4 + 2 + len("CREDITS") + 2)
    table_lines = [line for line in lines if line.startswith(("evt_", indent))]
    assert table_lines[0] == f"evt_  {'-':<7}  {' '.join(['one two'] * 10)}"
    assert table_lines[1:] == [f"{indent}{'y' * 80} end"]
    assert lines[len(table_lines) :] == [
        f"    {' '.join(['one two'] * 10)}",
        f"    {'y' * 80} end",
    ]


@pytest.mark.usefixtures("terminal_of_60_columns")
def test_empty_last_column_without_room_adds_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, [(f"evt_{'x' * 100}", 1, "")])
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["ID", "CREDITS"],
        ["TEXT"],
        [f"evt_{'x' * 100}", "1"],
    ]


@pytest.mark.usefixtures("terminal_of_60_columns")
def test_last_column_without_room_is_printed_below(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, [("evt_", None, URL), ("evt_", 1, "short")])
    assert capsys.readouterr().out.splitlines() == [
        "ID    CREDITS  TEXT",
        "evt_  -",
        f"    {URL}",
        "evt_  1        short",
    ]
    print_table(COLUMNS, [(ID[:90], None, "so many words that there is no room for them")])
    assert capsys.readouterr().out.splitlines()[3:] == [
        "    so many words that there is no room for them"
    ]


def test_command_that_is_too_wide_continues_at_its_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = f"datalayer-stripe events accept {'evt_'.ljust(28, 'x')} --reason '…' --credits N"
    for columns, lines in (("100", 1), ("80", 2)):
        monkeypatch.setenv("COLUMNS", columns)
        print_command(command, prefix="fix: ")
        printed = capsys.readouterr().out
        assert max(map(len, printed.splitlines())) <= int(columns)
        assert len(printed.splitlines()) == lines
        joined = printed.removeprefix("fix: ").replace("\\\n", "")
        assert shlex.split(joined) == shlex.split(command)


def test_command_in_backticks_stays_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    command = "`datalayer-stripe audit --repair --yes`"
    print_paragraph(f"{'x' * 20} {'y' * 50} {command} repairs it.")
    print_error(f"{'x ' * 60}{command}")
    printed = capsys.readouterr()
    assert printed.out.splitlines()[1] == f"{command} repairs it."
    assert printed.err == f"{'x ' * 60}{command}\n", "a log gets one line"


def test_wide_characters_take_two_columns(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, [("日本語", 1, "a"), ("abc", 2, "b")])
    assert capsys.readouterr().out.splitlines()[1:] == ["日本語  1        a", "abc     2        b"]


def test_control_characters_of_data_do_not_reach_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = "\x1b[31mred\x1b]0;title\x07\x9b2J\r\u202e\u200b\u2028\u2029\U000e0041"
    for output in Format:
        print_rows(output, COLUMNS, [(data, 1, f"a\n{data}")])
    print_line("x ", data)
    print_paragraph(data)
    printed = capsys.readouterr().out.replace("\r\n", "\n").replace("\n", "")
    assert printed.isprintable()


def test_line_feeds_of_data_add_no_lines(capsys: pytest.CaptureFixture[str]) -> None:
    name = "a\nCustomer: cus_FORGED"
    print_line(name, style="bold")
    print_table(COLUMNS, [(name, 1, name)])
    first, _, row = capsys.readouterr().out.splitlines()
    assert first == r"a\nCustomer: cus_FORGED"
    cell = "a Customer: cus_FORGED"
    assert row == f"{cell}  1        {cell}"


def test_json_keeps_unprintable_characters_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"name": "a\u202eb\u200d\x7f\U000e0041é"}
    print_json(value)
    printed = capsys.readouterr().out
    assert json.loads(printed) == value
    assert printed.replace("\n", "").isprintable()


def test_file_gets_plain_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(COLUMNS, [("a", 1, "[bold]:smile:")])
    print_line(styled("warning", "yellow"))
    assert capsys.readouterr().out.splitlines() == [
        "ID  CREDITS  TEXT",
        "a   1        [bold]:smile:",
        "warning",
    ]


@pytest.mark.parametrize(
    ("variables", "printed"),
    [
        ({}, "\x1b[33mwarning\x1b[0m\n"),
        ({"NO_COLOR": "1"}, "warning\n"),
        ({"NO_COLOR": ""}, "\x1b[33mwarning\x1b[0m\n"),
        ({"TERM": "dumb"}, "warning\n"),
    ],
)
def test_colours_on_a_terminal(
    variables: dict[str, str],
    printed: str,
    on_terminal: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    on_terminal()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    print_line(styled("warning", "yellow"))
    assert capsys.readouterr().out == printed


def test_dumb_terminal_gets_no_progress(
    on_terminal: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    on_terminal()
    assert open_console(err=True).is_interactive
    monkeypatch.setenv("TERM", "dumb")
    with SweepProgress() as progress:
        progress("event", 1, None)
    assert capsys.readouterr().err == ""


def test_progress_bar_shows_the_checked_part_of_the_time(
    on_terminal: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    on_terminal()
    now = datetime.now(UTC)

    def shown(checked: int, created: int) -> str:
        with SweepProgress(now - timedelta(days=10)) as progress:
            progress("event", checked, created)
        return capsys.readouterr().err

    middle = shown(1200, int((now - timedelta(days=5)).timestamp()))
    assert " 50%" in middle
    assert "1,200 events checked …" in middle
    assert middle.endswith("\x1b[2K"), "the bar is erased"
    assert "100%" in shown(1, 0)


@click.command()
@format_options
def listing(output: Format) -> None:
    rows: list[Row] = [
        ('=HYPERLINK("https://evil.example")', -5, "a b"),
        ("+1", None, "-x"),
        ("@x", 1, "\uff1dy"),
        ("\t=1", 1, 'quoted "text", with\nlines'),
        ("x;=1+cmd|z", 1, 'a, -1\n+2 ;"@b" c; --no'),
        (" =1", 1, 'accept evt_1 --reason "…" --credits 5 a-b'),
    ]
    print_rows(output, COLUMNS, rows)


def test_csv_is_that_of_rfc_4180_and_has_no_formulas() -> None:
    result = CliRunner().invoke(listing, ["--csv"])
    assert result.exit_code == 0
    text = result.stdout_bytes.decode("utf-8")
    assert text.startswith("id,credits,types,text\r\n")
    _header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    assert rows == [
        ['\'=HYPERLINK("https://evil.example")', "-5", "a b", "a b"],
        ["'+1", "", "'-x", "'-x"],
        ["'@x", "1", "'\uff1dy", "'\uff1dy"],
        ["\\t=1", "1", 'quoted "text", with lines', 'quoted "text", with\nlines'],
        ["x;'=1+cmd|z", "1", "a, '-1 +2 ;\"'@b\" c; '--no", "a, '-1\n'+2 ;\"'@b\" c; '--no"],
        [" '=1", "1", ANY, 'accept evt_1 --reason "…" --credits 5 a-b'],
    ]


def test_json_has_all_columns_and_excludes_csv() -> None:
    result = CliRunner().invoke(listing, ["--json"])
    assert json.loads(result.stdout)[1] == {
        "id": "+1",
        "credits": None,
        "types": ["-x"],
        "text": "-x",
    }
    result = CliRunner().invoke(listing, ["--json", "--csv"])
    assert result.exit_code == 2
    assert "Use --json or --csv, not both." in result.stderr
