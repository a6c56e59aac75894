"""The tree of errors in the docstring of `datalayer_stripe.errors` is complete."""

import importlib
import pkgutil
import re

import datalayer_stripe
from datalayer_stripe import errors
from datalayer_stripe.errors import DatalayerStripeError

LEVEL_WIDTH = len("├── ")


def drawn_parents() -> dict[str, str | None]:
    """Return the parent of each error in the drawing. The parent of the root is None."""
    lines = re.findall(r"^ {4}([│├└─ ]*)(\w+)", errors.__doc__ or "", re.MULTILINE)
    path: list[str] = []
    parents: dict[str, str | None] = {}
    for branch, name in lines:
        level = len(branch) // LEVEL_WIDTH
        parents[name] = path[level - 1] if level else None
        path[level:] = [name]
    return parents


def defined_errors() -> list[type[Exception]]:
    """Return the exception classes that the package defines, without those of the sandbox."""
    found = []
    for module in pkgutil.walk_packages(datalayer_stripe.__path__, "datalayer_stripe."):
        if module.name.startswith("datalayer_stripe.sandbox") or module.name.endswith("__main__"):
            continue
        for value in vars(importlib.import_module(module.name)).values():
            is_error = isinstance(value, type) and issubclass(value, Exception)
            if is_error and value.__module__ == module.name:
                found.append(value)
    return found


def test_drawn_tree_has_all_errors_with_their_parents() -> None:
    actual = {
        one.__name__: None if one is DatalayerStripeError else one.__bases__[0].__name__
        for one in defined_errors()
        if issubclass(one, DatalayerStripeError)
    }
    assert drawn_parents() == actual


def test_errors_are_defined_in_the_module_of_the_tree() -> None:
    elsewhere = {
        f"{one.__module__}.{one.__name__}"
        for one in defined_errors()
        if one.__module__ != errors.__name__
    }
    assert elsewhere == set()
