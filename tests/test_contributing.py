"""Tests of what contributors rely on: CONTRIBUTING.md, the hooks and the CI workflow."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from datalayer_stripe import Plugin

ROOT = Path(__file__).parents[1]
FILES = ("CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
RECIPES = ("Add an event", "Add a route", "Add a setting", "Add a collection")
RECORDINGS = ROOT / "datalayer_stripe" / "testing" / "events"
PLUGINS = sorted(path.stem for path in (ROOT / "plugins").glob("[!_]*.py"))
WORKFLOW = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")


def section(title: str) -> str:
    return CONTRIBUTING.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def plugin_of(name: str) -> Plugin[Any]:
    """Return the built-in plugin of a file in `plugins/`."""
    module = importlib.import_module(f"datalayer_stripe_plugins.{name}")
    plugin = module.plugin
    assert isinstance(plugin, Plugin)
    return plugin


def test_pre_commit_runs_the_commands_of_make_lint() -> None:
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert recipe is not None
    linted = [line.strip().replace("$(BIN)", ".venv/bin") for line in recipe[1].splitlines()]
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.findall(r"^ +entry: (.+)$", hooks, re.MULTILINE) == linted


def test_every_path_of_the_layout_exists() -> None:
    rows = re.findall(r"^\| (`.+?) \|", section("Layout"), re.MULTILINE)
    assert len(rows) == 10
    for row in rows:
        folder = ROOT
        for name in re.findall(r"`([^`]+)`", row):
            # The first path of a row is from the root; those after it are beside it.
            path = folder / name
            assert path.exists(), path
            folder = path.parent


def test_every_package_is_in_the_layout() -> None:
    packages = {path.parent.name for path in (ROOT / "datalayer_stripe").glob("*/__init__.py")}
    named = set(re.findall(r"(\w+)/`", section("Layout")))
    assert packages <= named


@pytest.mark.parametrize("name", FILES)
def test_links_lead_to_existing_files(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if not target.startswith("https://"):
            path, _, anchor = target.partition("#")
            assert (ROOT / path).exists(), target
            titles = re.findall(r"^#+ (.+)$", (ROOT / path).read_text("utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in titles}
            assert not anchor or anchor in slugs, target


@pytest.mark.parametrize("title", RECIPES)
def test_every_path_of_a_recipe_exists(title: str) -> None:
    recipe = CONTRIBUTING.partition(f"### {title}\n")[2].partition("\n### ")[0]
    paths = re.findall(r"`([\w-]+(?:/[\w.-]+)*[/.][\w.]*)`", recipe)
    assert len(paths) > 1
    for path in paths:
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("title", RECIPES)
def test_every_test_of_a_recipe_exists(title: str) -> None:
    recipe = CONTRIBUTING.partition(f"### {title}\n")[2].partition("\n### ")[0]
    tests = re.findall(r"`([\w./]+\.py)::(\w+)`", recipe)
    assert tests
    for path, test in tests:
        assert f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"), f"{path}::{test}"


def test_make_targets_of_contributing_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)", CONTRIBUTING))
    assert {"lint", "test", "docs"} <= named <= targets


def test_ci_runs_the_same_checks_on_each_python() -> None:
    assert "- run: .ci/run\n" in WORKFLOW
    [versions] = re.findall(r"python: \[(.+)\]", WORKFLOW)
    assert versions == '"3.11", "3.12", "3.13", "3.14"'
    assert "permissions:\n  contents: read\n" in WORKFLOW


def test_ci_builds_the_documentation() -> None:
    targets = re.search(r"^for target in (.+); do$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert targets is not None
    checks = {
        "lint",
        "docs",
        "test",
        "test-browser",
        "test-packages",
        "test-faults",
        "test-deployment",
        "play",
        "release-check",
    }
    assert checks == set(targets[1].split())


@pytest.mark.parametrize("name", PLUGINS)
def test_built_in_plugin_has_a_recorded_event(name: str) -> None:
    types = set(plugin_of(name).types)
    recorded = {path.name.removesuffix(".json") for path in RECORDINGS.glob("*.json")}
    assert types & recorded, f"add a recorded event of {sorted(types)} to {RECORDINGS}"


@pytest.mark.parametrize("name", PLUGINS)
def test_built_in_plugin_is_tested(name: str) -> None:
    types = plugin_of(name).types
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
    texts = [path.read_text(encoding="utf-8") for path in tests]
    assert any(f'"{event_type}' in text for event_type in types for text in texts), (
        f"no test sends {sorted(types)}: add one to tests/plugins"
    )
