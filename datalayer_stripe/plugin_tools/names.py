"""What a new plugin may be called: its package, its module and the plugin itself."""

import importlib.util
import keyword
import re
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution

from ..errors import PluginError
from ..plugin_api.definition import Plugin
from ..plugin_api.loading import load_plugins


@dataclass(frozen=True)
class Names:
    """`plugin` is also the package's name, at PyPI and of its folder."""

    plugin: str
    module: str


def checked_names(name: str) -> Names:
    """Raises PluginError, with a name that would do where there is one."""
    try:
        Plugin(name)
    except PluginError as error:
        raise PluginError(f"{error}{_suggestion(name)}") from None
    if not name[0].isalpha() or name.endswith("-"):
        raise PluginError(
            f"Plugin {name!r}: the name of a package begins with a letter, and does not end with "
            f"a hyphen.{_suggestion(name)}"
        )
    names = Names(name, name.replace("-", "_"))
    _check_is_free(names)
    return names


def _suggestion(name: str) -> str:
    words = re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower())
    while words and not words[0][0].isalpha():
        words.pop(0)
    return f" Say, {'-'.join(words)[:63].rstrip('-')}." if words else ""


def _check_is_free(names: Names) -> None:
    for plugin in load_plugins():
        if plugin.name == names.plugin:
            raise PluginError(
                f"There is a plugin {names.plugin} already, from {plugin.origin}, and two of one "
                "name cannot run. Choose another name."
            )
    if taken := _taken_by(names):
        raise PluginError(
            f"Plugin {names.plugin!r}: {taken}. Choose another name, say, {names.plugin}-plugin."
        )


def _taken_by(names: Names) -> str | None:
    module = names.module
    if keyword.iskeyword(module):
        return f"its module would be named {module}, which is a word of Python's own"
    if module in sys.stdlib_module_names:
        return f"its module would be named {module}, as one of Python's own library"
    if importlib.util.find_spec(module) is not None:
        return f"its module would be named {module}, and a module of this name is installed"
    try:
        distribution(names.plugin)
    except PackageNotFoundError:
        return None
    return f"a package named {names.plugin} is installed"
