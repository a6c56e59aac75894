"""The declared collections, the attributes of the store and the documentation agree."""

import ast
import re
from importlib import import_module
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from datalayer_stripe.store.collection import CollectionSpec
from datalayer_stripe.store.indexes import declared_collections
from datalayer_stripe.store.store import Store

ROOT = Path(__file__).parents[2]
PACKAGE = "datalayer_stripe.store"
MODULES = sorted((ROOT / "datalayer_stripe" / "store").glob("*.py"))

# Attributes of the driver's database that are not collections.
DRIVER_ATTRIBUTES = frozenset(
    {
        "command",
        "create_collection",
        "drop_collection",
        "list_collection_names",
        "name",
        "watch",
        "with_options",
    }
)
ALLOWED_IMPORTS = frozenset(
    {
        *("clock", "errors", "events", "metrics", "models", "settings", "store"),
        *("stripe_api.objects", "tasks", "tracing"),
    }
)


def collections_used(text: str) -> set[str]:
    """Return the names of the collections that a module gets as attributes of a database."""
    return {
        node.attr
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute)
        and (
            (isinstance(node.value, ast.Name) and node.value.id == "database")
            or (isinstance(node.value, ast.Attribute) and node.value.attr == "_database")
        )
        and node.attr not in DRIVER_ATTRIBUTES
    }


def imports_of_the_service(text: str) -> set[str]:
    """Return the modules of the service that a module of the store imports, without prefix."""
    return {
        node.module
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom) and node.level == 2 and node.module
    }


@pytest.mark.parametrize("name", declared_collections())
def test_collection_is_documented_in_the_state_table(name: str) -> None:
    state = (ROOT / "docs" / "design.md").read_text(encoding="utf-8").partition("## State")[2]
    documented = re.findall(r"^\| `([^`]+)` \|", state.partition("\n## ")[0], re.MULTILINE)
    assert name in documented, f"add {name} to the State table of docs/design.md"


@pytest.mark.parametrize("name", declared_collections())
def test_collection_has_an_attribute_on_the_store(name: str) -> None:
    mock = MagicMock()
    store = Store(mock, mock, mock, mock, in_memory=True, plugin_client=mock, plugin_database=mock)
    modules = {type(value).__module__ for value in vars(store).values()}
    declaring = {
        module
        for module in modules
        if module.startswith(f"{PACKAGE}.")
        and any(
            isinstance(value, CollectionSpec) and value.name == name
            for value in vars(import_module(module)).values()
        )
    }
    assert declaring, f"add an attribute to Store for the class that accesses {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_store_uses_declared_collections_only(path: Path) -> None:
    undeclared = collections_used(path.read_text(encoding="utf-8")) - set(declared_collections())
    assert undeclared == set(), f"declare a CollectionSpec for each of {sorted(undeclared)}"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_store_imports_lower_layers_only(path: Path) -> None:
    assert imports_of_the_service(path.read_text(encoding="utf-8")) <= ALLOWED_IMPORTS


def test_undeclared_collection_is_found() -> None:
    text = (
        "async def f(self, database):\n    self._database.gifts.find()\n    database.notes.find()"
    )
    assert collections_used(text) == {"gifts", "notes"}
