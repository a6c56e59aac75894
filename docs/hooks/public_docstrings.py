"""Check the docstrings of public names; `mkdocs build --strict` fails on a warning."""

import logging
from collections.abc import Iterator
from typing import Any

import griffe

_log = logging.getLogger("mkdocs.hooks.public_docstrings")

MODULES = ("datalayer_stripe", "datalayer_stripe.testing")
"""The modules whose `__all__` is the public API."""


def on_pre_build(**_: Any) -> None:
    """Log a warning for each problem of a public name."""
    for problem in find_problems():
        _log.warning(problem)


def find_problems() -> Iterator[str]:
    """Yield a sentence for each public class, function and method without a usable docstring."""
    modules = griffe.ModulesCollection()
    loader = griffe.GriffeLoader(modules_collection=modules)
    loader.load("datalayer_stripe")
    for module in MODULES:
        for name in modules[module].exports or ():
            if not str(name).startswith("__"):
                for path, member in _members(modules[f"{module}.{name}"], f"{module}.{name}"):
                    yield from _problems(member, path)


def _members(
    found: griffe.Object | griffe.Alias, path: str
) -> Iterator[tuple[str, griffe.Object | griffe.Alias]]:
    yield path, found
    if found.is_class:
        for name, child in found.members.items():
            # Properties are attributes to griffe; plain attributes are described in the class.
            is_code = child.is_function or "property" in child.labels
            if is_code and not name.startswith("_"):
                yield f"{path}.{name}", child


def _problems(member: griffe.Object | griffe.Alias, path: str) -> Iterator[str]:
    if member.docstring is None:
        yield f"The public name {path} has no docstring."
    elif ":`" in member.docstring.value:
        yield f"The docstring of {path} has a Sphinx role, which the site shows as text."
