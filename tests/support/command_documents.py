"""Write the commands into docs/cli.md: `python -m tests.support.command_documents`."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click

from datalayer_stripe.cli.main import main

DOCUMENT = Path(__file__).parents[2] / "docs" / "cli.md"

_OPTIONS = re.compile(r"`[^`]*`|(?<![\w-])--[a-z-]+(?: --[a-z-]+)*")
"""Text that is code already, or options in a row."""

_BEGIN = "<!-- commands. Generated from datalayer_stripe/cli/commands/ by `make commands` -->"


def document() -> str:
    """Return the text of docs/cli.md with the commands as they are now."""
    written, _, _ = DOCUMENT.read_text(encoding="utf-8").partition(_BEGIN)
    sections = [_section(name, command) for name, command in _commands(main, "datalayer-stripe")]
    return "\n\n".join([written + _BEGIN, *sections]) + "\n"


def _commands(group: click.Group, prefix: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def _section(name: str, command: click.Command) -> str:
    arguments = [one for one in command.params if isinstance(one, click.Argument)]
    options = [one for one in command.params if isinstance(one, click.Option)]
    usage = " ".join([name, *map(_argument, arguments), *(["[OPTIONS]"] if options else [])])
    parts = [f"### {name.removeprefix('datalayer-stripe ')}", f"```text\n{usage}\n```"]
    parts += _paragraphs(command.help or "")
    if options:
        rows = [f"| `{_option(one)}` | {_explanation(one)} |" for one in options]
        parts.append("\n".join(["| option | what |", "| --- | --- |", *rows]))
    return "\n\n".join(parts)


def _paragraphs(text: str) -> list[str]:
    """Return the paragraphs. Click does not wrap one that begins with a backspace."""
    found = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("\b"):
            found.append(f"```text\n{paragraph.removeprefix(chr(8)).strip()}\n```")
        else:
            found.append(_OPTIONS.sub(_as_code, " ".join(paragraph.split())))
    return found


def _as_code(found: re.Match[str]) -> str:
    return found[0] if found[0].startswith("`") else f"`{found[0]}`"


def _argument(argument: click.Argument) -> str:
    if isinstance(argument.type, click.Choice):
        return "|".join(argument.type.choices)
    name = argument.metavar or (argument.name or "").upper()
    return name if argument.required else f"[{name}]"


def _option(option: click.Option) -> str:
    if option.is_flag:
        return option.opts[0]
    if isinstance(option.type, click.Choice):
        choices = r"\|".join(option.type.choices)
        return f"{option.opts[0]} {choices}"
    kind = "integer" if isinstance(option.type, click.types.IntParamType) else option.type.name
    return f"{option.opts[0]} {option.metavar or kind.upper()}"


def _explanation(option: click.Option) -> str:
    text = (option.help or "").replace("|", "\\|")
    if option.required:
        return f"{text} Required."
    is_shown = isinstance(option.default, str | int | Path) and not isinstance(option.default, bool)
    return f"{text} Default: `{option.default}`." if is_shown and option.default != "" else text


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
