"""Choose and check the names of a new plugin, its package and its module."""

import importlib.util
import keyword
import re
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution

from ..errors import PluginError
from ..plugin_api.definition import Plugin
from ..plugin_api.loading import load_plugins

_MAX_NAME_LENGTH = 63


@dataclass(frozen=True)
class Names:
    """The names of a new package.

    Attributes:
        plugin: The name of the plugin, of its package on PyPI, and of its folder.
        module: The name of the Python package.
    """

    plugin: str
    module: str


def checked_names(name: str) -> Names:
    """Return the names of a new package.

    Args:
        name: The name of the plugin.

    Raises:
        PluginError: The name is not allowed or not free. The message suggests another one.
    """
    try:
        Plugin(name)
    except PluginError as error:
        raise PluginError(f"{error}{_suggestion(name)}") from None
    if not name[0].isalpha() or name.endswith("-"):
        raise PluginError(
            f"Plugin {name!r}: the name of a package must begin with a letter and must not end "
            f"with a hyphen.{_suggestion(name)}"
        )
    names = Names(name, name.replace("-", "_"))
    _check_is_free(names)
    return names


def _suggestion(name: str) -> str:
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower())
    while words and not words[0][0].isalpha():
        words.pop(0)
    suggested = "-".join(words)[:_MAX_NAME_LENGTH].rstrip("-")
    return f" For example: {suggested}." if words else ""


def _check_is_free(names: Names) -> None:
    for plugin in load_plugins():
        if plugin.name == names.plugin:
            raise PluginError(
                f"There is already a plugin {names.plugin}, from {plugin.origin}. Two plugins "
                "with the same name cannot run. Choose another name."
            )
    if conflict := _conflict(names):
        raise PluginError(
            f"Plugin {names.plugin!r}: {conflict}. Choose another name, "
            f"for example {names.plugin}-plugin."
        )


def _conflict(names: Names) -> str | None:
    """Return what has the name already; None if it is free."""
    module = names.module
    if keyword.iskeyword(module):
        return f"its module would be named {module}, which is a keyword of Python"
    if module in sys.stdlib_module_names:
        return f"its module would be named {module}, like a module of Python's standard library"
    if importlib.util.find_spec(module) is not None:
        return f"its module would be named {module}, and a module of this name is installed"
    try:
        distribution(names.plugin)
    except PackageNotFoundError:
        return None
    return f"a package named {names.plugin} is installed"
