"""Imports point down the layers of docs/design.md, without circles."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "datalayer_stripe"
# The front imports public names at their first use, so that it may stand above all layers.
FRONT = PACKAGE


def modules_of(root: Path, package: str) -> dict[str, Path]:
    """Return the file of each module, by its dotted name."""
    found = {}
    for path in sorted((root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(module: str, path: Path) -> Iterator[str]:
    """Yield what a module imports: at its top, in functions, and for type checkers alone."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                above = parts[: len(parts) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def graph_of(root: Path, package: str) -> dict[str, set[str]]:
    """Return which modules of a package each module of it imports."""
    modules = modules_of(root, package)
    return {
        module: {name for name in imports_of(module, path) if name in modules} - {module}
        for module, path in modules.items()
    }


def part_of(module: str) -> str:
    """Return the module or sub-package right below the package."""
    return module.split(".")[1]


def layers() -> list[list[str]]:
    """Return the rows of the table in docs/design.md, the highest layer first."""
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    section = text.partition("## Layers")[2]
    rows = re.findall(r"^\| *\d+ *\| ([^|]*) \|", section, re.MULTILINE)
    return [re.findall(r"`([\w]+)`", row) for row in rows]


def upward_imports(graph: Mapping[str, set[str]], order: list[list[str]]) -> list[str]:
    """Return a line for each import of a module in a higher layer, or beside it in its own."""
    height = {part: number for number, row in enumerate(order) for part in row}
    lines = []
    for module, targets in graph.items():
        for target in sorted(targets - {FRONT}):
            if FRONT in (module, target) or part_of(module) == part_of(target):
                continue
            if height[part_of(target)] <= height[part_of(module)]:
                lines.append(f"{as_file(module)} imports {as_file(target)}, which is not below it")
    return lines


def as_file(module: str) -> str:
    path = Path(*module.split("."))
    return str(path / "__init__.py" if (ROOT / path).is_dir() else path.with_suffix(".py"))


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the circles of imports: each a path that ends where it begins."""
    found, done = [], set()
    for start in graph:
        path: list[str] = []

        def visit(module: str, path: list[str] = path) -> None:
            if module in path:
                found.append([*path[path.index(module) :], module])
            elif module not in done:
                path.append(module)
                for target in sorted(graph.get(module, ())):
                    visit(target)
                path.pop()
                done.add(module)

        visit(start)
    return found


def packages_of(graph: Mapping[str, set[str]], depth: int) -> dict[str, set[str]]:
    """Return the imports between sub-packages, which are named by their first `depth` parts."""

    def cut(module: str) -> str:
        return ".".join(module.split(".")[:depth])

    found: dict[str, set[str]] = {}
    for module, targets in graph.items():
        found.setdefault(cut(module), set()).update(cut(target) for target in targets)
    return {module: targets - {module} for module, targets in found.items()}


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    return graph_of(ROOT, PACKAGE)


def test_each_part_of_the_package_is_in_one_layer(graph: dict[str, set[str]]) -> None:
    listed = [part for row in layers() for part in row]
    assert sorted(listed) == sorted({part_of(module) for module in graph if module != FRONT})


def test_imports_point_down_the_layers(graph: dict[str, set[str]]) -> None:
    assert upward_imports(graph, layers()) == []


def test_modules_do_not_import_each_other_in_a_circle(graph: dict[str, set[str]]) -> None:
    lower = {module: targets - {FRONT} for module, targets in graph.items() if module != FRONT}
    assert [" -> ".join(map(as_file, circle)) for circle in circles(lower)] == []


def test_sub_packages_of_the_sandbox_do_not_import_each_other_in_a_circle(
    graph: dict[str, set[str]],
) -> None:
    prefix = f"{PACKAGE}.sandbox"
    inside = {
        module: {target for target in targets if target.startswith(f"{prefix}.")}
        for module, targets in graph.items()
        if module.startswith(f"{prefix}.")
    }
    assert circles(packages_of(inside, 3)) == []


def test_only_the_demo_and_the_test_kit_join_service_and_sandbox(
    graph: dict[str, set[str]],
) -> None:
    sandbox = f"{PACKAGE}.sandbox"
    importers = {
        part_of(module)
        for module, targets in graph.items()
        if module != FRONT and any(target.startswith(sandbox) for target in targets)
    }
    assert importers == {"sandbox", "testing", "demo"}
    imported = {
        part_of(target)
        for module, targets in graph.items()
        if module.startswith(sandbox)
        for target in targets
    }
    assert imported == {"sandbox", "currencies"}


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        ("motor", {"store"}),
        ("pymongo", {"store"}),
        ("bson", {"store"}),
        # `events` verifies signatures and lists event types, without I/O; the test kit raises the
        # SDK's own errors for plugins that use `ctx.stripe.sdk`.
        ("stripe", {"stripe_api", "events", "testing"}),
        ("jupyter_server", {"jupyter"}),
    ],
)
def test_library_is_imported_by_one_part_only(library: str, allowed: set[str]) -> None:
    importers = {
        part_of(module)
        for module, path in modules_of(ROOT, PACKAGE).items()
        if any(name.partition(".")[0] == library for name in imports_of(module, path))
    }
    assert importers <= allowed


def test_plugins_import_public_names_only() -> None:
    for module, path in modules_of(ROOT, "plugins").items():
        ours = {name for name in imports_of(module, path) if name.startswith(PACKAGE)}
        assert all(name.count(".") <= 1 for name in ours), module
        assert {name.partition(".")[2] for name in ours} - {""} <= public_names(), module


def public_names() -> set[str]:
    import datalayer_stripe  # noqa: PLC0415 (the test above alone runs it)

    return set(datalayer_stripe.__all__)


def test_nothing_imports_a_built_in_plugin() -> None:
    for module, path in modules_of(ROOT, PACKAGE).items():
        names = {name.partition(".")[0] for name in imports_of(module, path)}
        assert names.isdisjoint({"plugins", "datalayer_stripe_plugins"}), module


# The checks themselves


def write_package(folder: Path, **files: str) -> dict[str, set[str]]:
    for name, text in {"__init__": "", **files}.items():
        path = (folder / "pkg").joinpath(*name.split("__sub__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return graph_of(folder, "pkg")


def test_import_that_points_up_is_found_and_both_files_are_named(tmp_path: Path) -> None:
    graph = write_package(
        tmp_path, high="", low="def later():\n    from .high import name", beside="import pkg.low"
    )
    assert upward_imports(graph, [["high"], ["low", "beside"]]) == [
        "pkg/beside.py imports pkg/low.py, which is not below it",
        "pkg/low.py imports pkg/high.py, which is not below it",
    ]


def test_circle_is_found_also_where_only_type_checkers_import(tmp_path: Path) -> None:
    graph = write_package(
        tmp_path,
        a="from . import b",
        b="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .c import C",
        c="import pkg.a",
        d="from .a import A",
    )
    assert {frozenset(circle) for circle in circles(graph)} == {
        frozenset({"pkg.a", "pkg.b", "pkg.c"})
    }
