"""Tests of what contributors rely on: CONTRIBUTING.md, the hooks and the CI workflow."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = ("CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
WORKFLOW = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")


def section(title: str) -> str:
    return CONTRIBUTING.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


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


@pytest.mark.parametrize(
    "title", ["Add an event", "Add a route", "Add a setting", "Add a collection"]
)
def test_every_path_of_a_recipe_exists(title: str) -> None:
    recipe = CONTRIBUTING.partition(f"### {title}\n")[2].partition("\n### ")[0]
    paths = [path for path in re.findall(r"`([\w./]+)`", recipe) if "/" in path or "." in path]
    assert len(paths) > 1
    for path in paths:
        assert (ROOT / path).exists(), path


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
    assert {"lint", "docs", "test", "test-packages", "test-faults", "play"} == set(
        targets[1].split()
    )
