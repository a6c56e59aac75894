"""Lines and paragraphs on a terminal, in a file or in a pipe, and the style of their words."""

import os
import re
import shutil
import sys
import textwrap

from rich.console import Console
from rich.text import Text

from ...printable import replace_unprintable

_MAX_WIDTH = 100  # in characters, also on a wider terminal and in a file
_MIN_TEXT_WIDTH = 20  # in characters, also if a prefix fills the line
_CONTINUED = "    "  # before the further lines of a command

_COMMAND = re.compile(r"`[^`]+`")
_UNBROKEN_SPACE = "\N{NO-BREAK SPACE}"


def width() -> int:
    """Return the number of characters in a line: the terminal's or `COLUMNS`, up to 100.

    Without `COLUMNS`, a file and a pipe get 100, whatever terminal the command was started in.
    """
    if not sys.stdout.isatty() and not os.environ.get("COLUMNS"):
        return _MAX_WIDTH
    return min(_MAX_WIDTH, shutil.get_terminal_size((_MAX_WIDTH, 0)).columns)


def open_console(*, err: bool = False) -> Console:
    """Return a console that writes to the present stdout or stderr.

    It prints no escape sequences into a file or a pipe, nor if `TERM` is `dumb`. It prints no
    colours and no bold text if `NO_COLOR` is set (https://no-color.org).

    Args:
        err: Whether it writes to stderr.
    """
    stream = sys.stderr if err else sys.stdout
    is_terminal = stream.isatty()
    has_style = is_terminal and not os.environ.get("NO_COLOR") and not _is_dumb()
    return Console(
        file=stream,
        force_terminal=is_terminal,
        force_interactive=is_terminal and not _is_dumb(),
        force_jupyter=False,
        color_system="auto" if has_style else None,
        no_color=not has_style,
        width=width(),
        height=shutil.get_terminal_size().lines,
        # The texts are data, not rich's markup.
        markup=False,
        emoji=False,
        highlight=False,
    )


def _is_dumb() -> bool:
    return os.environ.get("TERM", "").lower() in {"dumb", "unknown"}


def clean(text: str, *, keep: str = "") -> str:
    """Return a text in which unprintable characters are replaced, so that a terminal only shows it.

    They are control characters, line feeds among them, and marks that change the direction of a
    text or have no width. They become their escape sequence in Python, which for an escape
    character ends in `x1b`.

    Args:
        text: The text.
        keep: Characters that stay.
    """
    return replace_unprintable(text, _escape, keep=keep)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def styled(text: str, style: str = "") -> Text:
    """Return a text with a style, such as `bold`. Unprintable characters are replaced."""
    return Text(clean(text), style)


def wrap(text: str, columns: int, style: str = "") -> list[Text]:
    """Return the lines of a text.

    Neither a longer word, such as an id or a URL, nor a command in backticks is broken.

    Args:
        text: The text. Its line feeds count as spaces.
        columns: The number of characters in a line.
        style: The style of the text.
    """
    joined = _COMMAND.sub(
        lambda found: found[0].replace(" ", _UNBROKEN_SPACE), clean(text.replace("\n", " "))
    )
    lines = textwrap.wrap(joined, columns, break_long_words=False, break_on_hyphens=False)
    return [Text(line.replace(_UNBROKEN_SPACE, " "), style) for line in lines or [""]]


def print_line(*parts: str | Text, style: str = "", err: bool = False) -> None:
    """Print a line as it is: it is never wrapped or cut, so that it can be copied.

    Args:
        parts: The texts, one after the other. Unprintable characters are replaced, so that data
            cannot add lines.
        style: The style of the parts that have none.
        err: Whether to print it on stderr.
    """
    line = Text(style=style)
    for part in parts:
        line.append_text(part if isinstance(part, Text) else styled(part))
    open_console(err=err).print(line, soft_wrap=True)


def print_paragraph(
    text: str, *, prefix: str | Text = "", style: str = "", err: bool = False
) -> None:
    """Print a paragraph, wrapped at the width of the terminal.

    Args:
        text: The paragraph.
        prefix: What stands before the first line. The others are indented by as much.
        style: The style of the paragraph.
        err: Whether to print it on stderr.
    """
    first = prefix if isinstance(prefix, Text) else styled(prefix)
    indent = first.cell_len
    columns = max(width() - indent, _MIN_TEXT_WIDTH)
    for number, line in enumerate(wrap(text, columns, style)):
        print_line(first if number == 0 else " " * indent, line, err=err)


def print_command(command: str, *, prefix: str) -> None:
    """Print a shell command that can be copied.

    If it is wider than the terminal, its options continue in further lines, as a shell reads them.

    Args:
        command: The command, with options such as `--reason "…"`.
        prefix: What stands before it. Further lines are indented.
    """
    first, *options = re.split(r" (?=--)", command)
    line, room = prefix + first, width() - len(" \\")
    for option in options:
        if len(f"{line} {option}") > room:
            print_line(f"{line} \\")
            line = f"{_CONTINUED}{option}"
        else:
            line += f" {option}"
    print_line(line)


def print_message(message: str, *, prefix: str | Text = "", err: bool = False) -> None:
    """Print a message, whose lines are wrapped on a terminal only: a log gets one for each problem.

    Args:
        message: The message, of one or several lines.
        prefix: What stands before the first line.
        err: Whether to print it on stderr.
    """
    is_terminal = (sys.stderr if err else sys.stdout).isatty()
    for line in message.split("\n"):
        if is_terminal:
            print_paragraph(line, prefix=prefix, err=err)
        else:
            print_line(prefix, line, err=err)
        prefix = ""


def print_error(message: str) -> None:
    """Print a message of one or several lines on stderr."""
    print_message(message, err=True)


def pluralize(number: int, noun: str) -> str:
    """Return a number with its noun: `1 event`, `1,200 events`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
