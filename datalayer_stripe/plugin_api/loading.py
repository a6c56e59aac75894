"""Load plugins from installed distributions and from a folder of files.

The built-in plugins are loaded like any other. A plugin that cannot be loaded stops the start.
"""

import hashlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import Distribution, EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import PluginError
from ..settings import variable
from .definition import Origin, Plugin
from .permissions import writable_by_everybody

ENTRY_POINT_GROUP = "datalayer_stripe.plugins"
FOLDER_VARIABLE = variable("stripe_plugins_dir")

_OWN_DISTRIBUTION = "datalayer-stripe"


def load_plugins(folder: Path | None = None) -> list[Plugin[Any]]:
    """Load every installed plugin, and those in the files of a folder.

    Args:
        folder: A folder of Python files, or None.

    Returns:
        The plugins, in no particular order.

    Raises:
        PluginError: A plugin cannot be loaded. The message names its file or distribution and says
            what to do.
    """
    # Reading the metadata of a distribution takes milliseconds, and the built-in plugins share one.
    origins: dict[Distribution, Origin] = {}
    installed = [_installed(one, origins) for one in entry_points(group=ENTRY_POINT_GROUP)]
    if not installed:
        raise PluginError(
            "No plugin is installed, not even the built-in ones. "
            'Install the package itself: pip install -e . or pip install "datalayer-stripe".'
        )
    if folder is None:
        return installed
    _refuse_exposed(folder)
    return [*installed, *load_folder(folder)]


def _refuse_exposed(folder: Path) -> None:
    """Raise PluginError if every user of this machine can change what is loaded from `folder`."""
    with suppress(OSError):  # load_folder() reports it
        if exposed := writable_by_everybody(folder):
            raise PluginError(
                f"{FOLDER_VARIABLE}: every user of this machine can write {exposed}, and so run "
                f"code in the service. Remove that permission: chmod o-w {exposed}"
            )


def _installed(entry_point: EntryPoint, origins: dict[Distribution, Origin]) -> Plugin[Any]:
    distribution = entry_point.dist
    if distribution is None:
        origin = Origin("package", entry_point.module)
    elif distribution in origins:
        origin = origins[distribution]
    else:
        origin = origins[distribution] = _origin(distribution)
    return load_entry_point(entry_point, origin, f"Fix it, or uninstall {origin.name}.")


def load_entry_point(entry_point: EntryPoint, origin: Origin, remedy: str) -> Plugin[Any]:
    """Load the plugin that an entry point names.

    Args:
        entry_point: An entry point of the group `datalayer_stripe.plugins`.
        origin: Where it comes from.
        remedy: What the message of an error ends with.

    Raises:
        PluginError: It cannot be loaded, or is not a plugin.
    """
    try:
        plugin = entry_point.load()
    except (Exception, SystemExit) as error:
        raise _not_loaded(f"Plugin {entry_point.value} of {origin}", error, remedy) from error
    if not isinstance(plugin, Plugin):
        raise PluginError(
            f"{entry_point.value} of {origin} is not a datalayer_stripe.Plugin. {remedy}"
        )
    plugin.origin = origin
    return plugin


def _origin(distribution: Distribution) -> Origin:
    metadata = distribution.metadata
    name, version = metadata["Name"], metadata["Version"]
    return Origin("built-in" if name == _OWN_DISTRIBUTION else "package", name, version)


def load_folder(folder: Path) -> Iterator[Plugin[Any]]:
    """Yield the plugins in each file of a folder. Files that begin with an underscore are skipped.

    Raises:
        PluginError: The folder cannot be read, or a file cannot be loaded.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if _is_plugin_file(path))
    except OSError as error:
        raise PluginError(
            f"{FOLDER_VARIABLE}: the folder cannot be read ({error.strerror}). "
            "Name a folder that exists, or unset the variable."
        ) from None
    for path in paths:
        yield from load_file(path)


def _is_plugin_file(path: Path) -> bool:
    return path.suffix == ".py" and not path.name.startswith("_") and path.is_file()


def _package(folder: Path) -> str:
    """Return the name of a package for the folder, so that `from ._shared import …` works."""
    digest = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()
    name = f"datalayer_stripe_plugin_files_{digest[:12]}"
    if name not in sys.modules:
        package = ModuleType(name, "The files of a folder of plugins.")
        package.__path__ = [str(folder.resolve())]
        sys.modules[name] = package
    return name


def load_file(path: Path) -> Iterator[Plugin[Any]]:
    """Yield the plugins at the top level of a file.

    Raises:
        PluginError: The file cannot be loaded, or has no plugin.
    """
    origin = Origin("file", str(path))
    module = _executed(path, f"{_package(path.parent)}.{path.stem.replace('.', '_')}")
    # A plugin that has two names in the file is yielded once.
    found = {id(value): value for value in vars(module).values() if isinstance(value, Plugin)}
    if not found:
        raise PluginError(
            f"{path} has no plugin: create a datalayer_stripe.Plugin at its top level, "
            "or begin the file's name with an underscore."
        )
    for plugin in found.values():
        plugin.origin = origin
        yield plugin


def _executed(path: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path} cannot be loaded: Python cannot import it as a module.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        remedy = "Fix it, or begin the file's name with an underscore."
        raise _not_loaded(f"Plugin file {path}", error, remedy) from error
    return module


def _not_loaded(what: str, error: BaseException, remedy: str) -> PluginError:
    # The last line of the traceback. For a SyntaxError it has the line of the file.
    last = f"{type(error).__name__}: {' '.join(str(error).split())}"
    reason = str(error) if isinstance(error, PluginError) else last
    return PluginError(f"{what} cannot be loaded: {reason.rstrip('.: ')}. {remedy}")
