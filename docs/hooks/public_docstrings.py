"""Warn about public names without a docstring; `mkdocs build --strict` fails on a warning."""

import logging
from collections.abc import Iterator
from typing import Any

import griffe

_log = logging.getLogger("mkdocs.hooks.public_docstrings")

MODULES = ("datalayer_stripe", "datalayer_stripe.testing")
"""The modules whose `__all__` is the public API."""


def on_pre_build(**_: Any) -> None:
    """Log a warning for each public name without a docstring."""
    for name in undocumented():
        _log.warning("The public name %s has no docstring.", name)


def undocumented() -> Iterator[str]:
    """Yield the dotted path of each public class, function and method without a docstring."""
    package = griffe.load("datalayer_stripe")
    for module in MODULES:
        found = (
            package[module.removeprefix("datalayer_stripe").lstrip(".")]
            if "." in module
            else package
        )
        for name in found.exports or ():
            if not str(name).startswith("__"):
                yield from _undocumented(found[str(name)], f"{module}.{name}")


def _undocumented(member: griffe.Object | griffe.Alias, path: str) -> Iterator[str]:
    if not member.has_docstring:
        yield path
    if member.is_class:
        for name, child in member.members.items():
            # Properties are attributes to griffe; plain attributes are described in the class.
            is_code = child.is_function or "property" in child.labels
            if is_code and not name.startswith("_") and not child.has_docstring:
                yield f"{path}.{name}"
