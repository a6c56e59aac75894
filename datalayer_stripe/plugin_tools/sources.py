"""Load the plugins of a path: a file, a folder of files, or a package that is not installed.

The rules are those of the start of the service.
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
_OTHER_PROJECT_FILES = ("setup.py", "setup.cfg")


@dataclass(frozen=True)
class Source:
    """The plugins of a path.

    Attributes:
        plugins: The plugins, in their order.
        events: The folder of the author's own events. It may not exist.
    """

    plugins: tuple[Plugin[Any], ...]
    events: Path


def load_source(path: Path) -> Source:
    """Load the plugins of a path together with the installed ones.

    Plugins at the path replace installed plugins of the same package or from the same file.

    Args:
        path: The file or folder.

    Returns:
        The plugins of the path.

    Raises:
        PluginError: The service could not start with these plugins, or the path has none.
    """
    if path.is_file():
        plugins, distribution = tuple(load_file(path)), None
    elif project := _project(path):
        plugins, distribution = _of_package(path, project), project["name"]
    else:
        plugins, distribution = tuple(load_folder(path)), None
    if not plugins:
        raise PluginError(
            f"{path} has no plugin. Its files must end with .py and must not begin with _."
        )
    registry = Registry([*plugins, *_installed_beside(plugins, distribution)])
    folder = path.parent if path.is_file() else path
    ordered = tuple(one for one in registry.plugins if one in plugins)
    return Source(ordered, folder / "tests" / "events")


def _installed_beside(
    plugins: tuple[Plugin[Any], ...], distribution: str | None
) -> Iterator[Plugin[Any]]:
    """Yield the installed plugins that the plugins of the path do not replace."""
    origins = {plugin: plugin.origin for plugin in plugins}
    files = set().union(*map(_files, plugins))
    for other in load_plugins():
        if other in origins:
            other.origin = origins[other]  # the same plugin, installed in editable mode
        elif not files & _files(other) and not _is_of(other, distribution):
            yield other


def _files(plugin: Plugin[Any]) -> set[Path]:
    """Return the files that contain the plugin's functions."""
    registrations = filter(None, map(plugin.registration, plugin.types))
    codes = (getattr(one.function, "__code__", None) for one in registrations)
    return {Path(code.co_filename).resolve() for code in codes if code is not None}


def _is_of(plugin: Plugin[Any], distribution: str | None) -> bool:
    return distribution is not None and _normalized(plugin.origin.name) == _normalized(distribution)


def _project(folder: Path) -> dict[str, Any] | None:
    """Return the table `[project]` of the folder's pyproject.toml; None if it is no package."""
    file = folder / _PROJECT
    project: dict[str, Any] = {}
    if file.is_file():
        try:
            project = tomllib.loads(file.read_text(encoding="utf-8")).get("project", {})
        except (OSError, ValueError) as error:
            raise PluginError(f"Cannot read {file}: {error}.") from None
    if project or any((folder / one).is_file() for one in _OTHER_PROJECT_FILES):
        return {"name": folder.resolve().name, **project}
    return None


def _of_package(folder: Path, project: dict[str, Any]) -> tuple[Plugin[Any], ...]:
    entry_points = project.get("entry-points", {}).get(ENTRY_POINT_GROUP)
    if not entry_points:
        raise PluginError(
            f"{folder} is a package without a plugin. Add to its {_PROJECT} the table "
            f'[project.entry-points."{ENTRY_POINT_GROUP}"] with a line such as '
            'my-plugin = "my_module:plugin", or pass the path of the plugin\'s file.'
        )
    root = folder / "src" if (folder / "src").is_dir() else folder
    sys.path.insert(0, str(root.resolve()))
    origin = Origin("package", project["name"], project.get("version"))
    return tuple(
        _of_entry_point(EntryPoint(name, value, ENTRY_POINT_GROUP), origin, folder, root)
        for name, value in entry_points.items()
    )


def _of_entry_point(
    entry_point: EntryPoint, origin: Origin, folder: Path, root: Path
) -> Plugin[Any]:
    advice = f"Fix it, or install what it needs: pip install --editable {folder}"
    plugin = load_entry_point(entry_point, origin, advice)
    place = Path(str(sys.modules[entry_point.module].__file__))
    if not place.resolve().is_relative_to(root.resolve()):
        raise PluginError(
            f"{entry_point.value} is not in {root}: Python finds {entry_point.module} at {place}. "
            "Give the module a unique name, and put it into src/ or beside pyproject.toml."
        )
    return plugin


def _normalized(distribution: str) -> str:
    """Return a package's name in the form in which PyPI compares names."""
    return re.sub(r"[-_.]+", "-", distribution).lower()
