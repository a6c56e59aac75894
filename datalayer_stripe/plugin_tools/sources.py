"""The plugins of a path: of a file, of a folder of files, or of a package that is being written.

They are loaded by the same rules as at the start of the service.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from ..errors import PluginError
from ..plugin_api.definition import Origin, Plugin
from ..plugin_api.loading import (
    ENTRY_POINT_GROUP,
    load_entry_point,
    load_file,
    load_folder,
    load_plugins,
)
from ..plugin_api.registry import Registry

_PROJECT = "pyproject.toml"
_OLDER = ("setup.py", "setup.cfg")


@dataclass(frozen=True)
class Source:
    """The plugins of a path, in order, and the folder where their own events are looked for."""

    plugins: tuple[Plugin[Any], ...]
    events: Path


def load_source(path: Path) -> Source:
    """Raises PluginError for what would end the start of the service, the installed ones beside.

    What is installed of the same package, or from the same file, gives way to what is at the path.
    """
    if path.is_file():
        plugins, distribution = tuple(load_file(path)), None
    elif project := _project(path):
        plugins, distribution = _of_package(path, project), project["name"]
    else:
        plugins, distribution = tuple(load_folder(path)), None
    if not plugins:
        raise PluginError(
            f"{path} has no plugin: no file in it ends with .py, or all begin with _."
        )
    mine = Registry([*plugins, *_others(plugins, distribution)])
    folder = path.parent if path.is_file() else path
    return Source(tuple(one for one in mine.plugins if one in plugins), folder / "tests" / "events")


def _others(plugins: tuple[Plugin[Any], ...], distribution: str | None) -> Iterator[Plugin[Any]]:
    origins = {plugin: plugin.origin for plugin in plugins}
    files = set().union(*map(_files, plugins))
    for other in load_plugins():
        if other in origins:
            other.origin = origins[other]  # the same one, installed editable
        elif not files & _files(other) and not _is_of(other, distribution):
            yield other


def _files(plugin: Plugin[Any]) -> set[Path]:
    """Where its functions are written."""
    registrations = filter(None, map(plugin.registration, plugin.types))
    codes = (getattr(one.function, "__code__", None) for one in registrations)
    return {Path(code.co_filename).resolve() for code in codes if code is not None}


def _is_of(plugin: Plugin[Any], distribution: str | None) -> bool:
    return distribution is not None and _normal(plugin.origin.name) == _normal(distribution)


def _project(folder: Path) -> dict[str, Any] | None:
    """What `[project]` of the folder's pyproject.toml says; None where it is no package's."""
    file = folder / _PROJECT
    project: dict[str, Any] = {}
    if file.is_file():
        try:
            project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
        except (OSError, ValueError) as error:
            raise PluginError(f"{file} cannot be read: {error}.") from None
    if project or any((folder / one).is_file() for one in _OLDER):
        return {"name": folder.resolve().name, **project}
    return None


def _of_package(folder: Path, project: dict[str, Any]) -> tuple[Plugin[Any], ...]:
    named = project.get("entry-points", {}).get(ENTRY_POINT_GROUP)
    if not named:
        raise PluginError(
            f"{folder} is a package that names no plugin: its {_PROJECT} needs the table "
            f'[project.entry-points."{ENTRY_POINT_GROUP}"] with a line such as '
            'my-plugin = "my_module:plugin". Or name the plugin\'s own file.'
        )
    root = folder / "src" if (folder / "src").is_dir() else folder
    sys.path.insert(0, str(root.resolve()))
    origin = Origin("package", project["name"], project.get("version"))
    return tuple(
        _of_entry_point(EntryPoint(name, value, ENTRY_POINT_GROUP), origin, folder, root)
        for name, value in named.items()
    )


def _of_entry_point(
    entry_point: EntryPoint, origin: Origin, folder: Path, root: Path
) -> Plugin[Any]:
    remedy = f"Mend it, or install what it needs: pip install --editable {folder}"
    plugin = load_entry_point(entry_point, origin, remedy)
    place = Path(str(sys.modules[entry_point.module].__file__))
    if not place.resolve().is_relative_to(root.resolve()):
        raise PluginError(
            f"{entry_point.value} is not in {root}: Python finds {entry_point.module} at {place}. "
            "Give the module a name of its own, and let it be in src/ or beside pyproject.toml."
        )
    return plugin


def _normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()
