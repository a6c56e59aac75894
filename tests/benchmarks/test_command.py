"""The command of the benchmark, and its modules, which continuous integration does not run."""

import importlib
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.__main__ import main

ROOT = Path(__file__).parents[2]
# These run elsewhere: with Django, and in place of uvloop.
ELSEWHERE = {"dj_stripe", "without_uvloop"}
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted((ROOT / "benchmarks").rglob("*.py"))
    if path.parent.name not in ELSEWHERE
]


@pytest.mark.parametrize("name", MODULES)
def test_every_module_can_be_imported(name: str) -> None:
    importlib.import_module(name)


def test_options_of_the_makefile_exist() -> None:
    [line] = re.findall(r"-m benchmarks (.+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    options = re.findall("--[a-z-]+", line)
    assert options == ["--peers", "--soak-seconds"]
    shown = CliRunner().invoke(main, ["--help"]).output
    assert all(option in shown for option in options)
