"""Write the files of a new plugin's package from `templates/`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from .._version import __version__
from ..errors import PluginError
from ..events import PAYMENT_SUCCEEDED, unknown_type_warning
from ..testing.recordings import recordings_of
from .names import Names, checked_names
from .recordings import is_placeholder, placeholder

DEFAULT_TYPE = PAYMENT_SUCCEEDED

# The line length in the template of pyproject.toml.
_LINE_LENGTH = 100

_FILES = {
    ".gitignore": "gitignore",
    "README.md": "README.md",
    "pyproject.toml": "pyproject.toml",
    "src/$module/__init__.py": "init.py",
    "src/$module/plugin.py": "plugin.py",
    "src/$module/py.typed": "py.typed",
    "tests/test_plugin.py": "test_plugin.py",
}


@dataclass(frozen=True)
class NewPackage:
    """A package that was written.

    Attributes:
        folder: Its folder.
        files: The paths of its files in the folder.
        unrecorded: The event types whose event is a placeholder.
    """

    folder: Path
    files: tuple[Path, ...]
    unrecorded: tuple[str, ...]


def write_package(
    name: str, types: Sequence[str] = (), *, deferred: bool = False, directory: Path
) -> NewPackage:
    """Write a package with a working plugin.

    Args:
        name: The name of the plugin and of its package.
        types: The event types that the plugin runs on; by default `DEFAULT_TYPE`.
        deferred: Whether the plugin runs after the delivery has been answered.
        directory: The parent of the package's folder.

    Returns:
        What was written.

    Raises:
        PluginError: The name or a type is not allowed, or the folder exists. Nothing is written.
    """
    names = checked_names(name)
    types = tuple(dict.fromkeys(types or (DEFAULT_TYPE,)))
    if warnings := [warning for one in types if (warning := unknown_type_warning(one))]:
        raise PluginError("\n".join(warnings))
    folder = directory / name
    events = {one: next(iter(recordings_of(one).values()), placeholder(one)) for one in types}
    texts = dict(_texts(names, types, deferred=deferred))
    texts |= {f"tests/events/{one}.json": _json(event) for one, event in events.items()}
    try:
        folder.mkdir()
        for path, text in texts.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    except FileExistsError:
        raise PluginError(
            f"{folder} exists already and is not overwritten. "
            "Choose another name or --directory, or remove it."
        ) from None
    except OSError as error:
        raise PluginError(f"Cannot write {error.filename}: {error.strerror}.") from None
    unrecorded = tuple(one for one, event in events.items() if is_placeholder(event))
    return NewPackage(folder, tuple(map(Path, texts)), unrecorded)


def _json(event: Mapping[str, Any]) -> str:
    return json.dumps(event, indent=2, ensure_ascii=False) + "\n"


def _texts(names: Names, types: Sequence[str], *, deferred: bool) -> Iterator[tuple[str, str]]:
    """Yield the path and text of each file."""
    templates = files(__package__) / "templates"
    values = {
        "name": names.plugin,
        "module": names.module,
        "version": __version__,
        "types": " and ".join(types) if len(types) < 3 else f"{len(types)} event types",
        "first_type": types[0],
        "listed_types": "\n".join(f"- `{one}`" for one in types),
        "arguments": _arguments(types, deferred=deferred),
        "run_deferred": "    service.run_deferred()\n" if deferred else "",
    }
    for path, template in _FILES.items():
        text = (templates / f"{template}.template").read_text(encoding="utf-8")
        yield Template(path).substitute(values), Template(text).substitute(values)


def _arguments(types: Sequence[str], *, deferred: bool) -> str:
    """Return the arguments of `@plugin.on(…)`, in the layout of a code formatter."""
    arguments = [f'"{one}"' for one in types]
    if deferred:
        arguments.append("deferred=True")
    line = ", ".join(arguments)
    if len(f"@plugin.on({line})") <= _LINE_LENGTH:
        return line
    indented = f"    {line}"
    if len(indented) <= _LINE_LENGTH:
        return f"\n{indented}\n"
    return "".join(["\n", *(f"    {one},\n" for one in arguments)])
