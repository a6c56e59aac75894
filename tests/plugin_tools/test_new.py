"""`plugins new`: the new package passes its tests, lint and type checks; invalid names fail."""

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from datalayer_stripe.cli.main import main
from datalayer_stripe.events import known_types
from datalayer_stripe.testing.recordings import recordings_of
from tests.support.missing import is_ci

ROOT = Path(__file__).parents[2]

WITHOUT_RECORDING = "terminal.reader.action_failed"
LONGEST_TYPE = max(known_types(), key=len)
LONGEST_NAME = "x" * 63


def new(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["plugins", "new", *arguments, "--directory", str(folder)])


def refused(folder: Path, *arguments: str) -> str:
    """Return the error message of a refused command, which writes nothing."""
    before = sorted(folder.rglob("*"))
    answer = new(folder, *arguments)
    assert answer.exit_code == 2, answer.output
    assert answer.stdout == ""
    assert sorted(folder.rglob("*")) == before
    return answer.stderr


def python(*arguments: str, folder: Path) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        # mypy does not find packages that are installed in editable mode.
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


VARIANTS = [
    pytest.param("top-up-count", [], 1, id="default"),
    pytest.param("reports", ["--on", "invoice.paid", "--deferred"], 1, id="deferred"),
    pytest.param(
        LONGEST_NAME,
        ["--on", "charge.refunded", "--on", LONGEST_TYPE, "--on", WITHOUT_RECORDING, "--deferred"],
        3,
        id="several-and-long",
    ),
]


# The third one is deferred, too. `make test-packages` tries the second one.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "types"),
    [
        VARIANTS[0],
        pytest.param(*VARIANTS[1].values, id="deferred", marks=pytest.mark.packages),
        VARIANTS[2],
    ],
)
def test_new_package_passes_its_tests(
    tmp_path: Path, name: str, options: list[str], types: int
) -> None:
    assert new(tmp_path, name, *options).exit_code == 0
    # As in an environment in which only this package and the test kit are installed.
    plain = ("-p", "no:cacheprovider", "-p", "no:tornado", "-p", "no:xdist")
    printed = python("pytest", "-q", *plain, folder=tmp_path / name)
    assert f"{2 * types} passed" in printed


@pytest.fixture(scope="module")
def mypy_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache folder, so that mypy analyses the libraries only once."""
    return tmp_path_factory.mktemp("mypy")


@pytest.mark.packages
@pytest.mark.parametrize(("name", "options", "types"), VARIANTS)
def test_new_package_passes_ruff_and_mypy(
    tmp_path: Path, mypy_cache: Path, name: str, options: list[str], types: int
) -> None:
    if not (find_spec("ruff") and find_spec("mypy")) and not is_ci():
        pytest.skip("needs ruff and mypy: make lint installs them")
    assert new(tmp_path, name, *options).exit_code == 0
    folder = tmp_path / name
    python("ruff", "check", ".", folder=folder)
    python("ruff", "format", "--check", ".", folder=folder)
    python("mypy", "--strict", "--cache-dir", str(mypy_cache), ".", folder=folder)


def test_output_lists_each_file_and_the_next_commands(tmp_path: Path) -> None:
    answer = new(tmp_path, "my-plugin")
    assert answer.exit_code == 0
    folder = tmp_path / "my-plugin"
    first, *lines = answer.stdout.splitlines()
    assert first == f"{folder}/"
    end = lines.index("")
    written = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    assert sorted(line.strip() for line in lines[:end]) == sorted(written)
    assert "src/my_plugin/plugin.py" in written
    commands = [line.strip() for line in lines[end:] if line.startswith("  ")]
    assert commands == [f"cd {folder}", 'pip install --editable ".[test]"', "pytest"]


def test_files_have_no_template_variables_and_no_todo(tmp_path: Path) -> None:
    new(tmp_path, "my-plugin")
    for path in (tmp_path / "my-plugin").rglob("*"):
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        assert not re.search(r"\$(?!inc|max)", text), path
        assert "TODO" not in text, path


def test_pyproject_names_plugin_and_test_kit(tmp_path: Path) -> None:
    new(tmp_path, "my-plugin")
    text = (tmp_path / "my-plugin" / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    assert project["name"] == "my-plugin"
    [requirement] = project["dependencies"]
    assert project["optional-dependencies"]["test"] == [
        requirement.replace("datalayer-stripe", "datalayer-stripe[testing]")
    ]
    assert project["entry-points"] == {
        "datalayer_stripe.plugins": {"my-plugin": "my_plugin.plugin:plugin"}
    }


def test_event_of_new_package_is_the_recorded_one(tmp_path: Path) -> None:
    answer = new(tmp_path, "my-plugin", "--on", "invoice.paid")
    text = (tmp_path / "my-plugin/tests/events/invoice.paid.json").read_text(encoding="utf-8")
    assert json.loads(text) == recordings_of("invoice.paid")["invoice.paid"]
    assert "placeholder" not in answer.stdout


def test_event_without_recording_is_a_placeholder(tmp_path: Path) -> None:
    answer = new(tmp_path, "my-plugin", "--on", WITHOUT_RECORDING)
    assert answer.exit_code == 0
    assert f"no recorded event of the type {WITHOUT_RECORDING}, so" in answer.stdout
    path = tmp_path / f"my-plugin/tests/events/{WITHOUT_RECORDING}.json"
    event = json.loads(path.read_text(encoding="utf-8"))
    assert (event["type"], event["livemode"]) == (WITHOUT_RECORDING, False)


def test_repeated_type_is_written_once(tmp_path: Path) -> None:
    new(tmp_path, "my-plugin", "--on", "invoice.paid", "--on", "invoice.paid")
    text = (tmp_path / "my-plugin/src/my_plugin/plugin.py").read_text(encoding="utf-8")
    assert '@plugin.on("invoice.paid")' in text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Top Up Count", "lower-case letters, digits and hyphens. For example: top-up-count."),
        ("topUpCount", "For example: top-up-count."),
        ("top_up", "For example: top-up."),
        ("2nd-look", "must begin with a letter and must not end with a hyphen. For example: look."),
        ("look-", "For example: look."),
        ("", "lower-case letters, digits and hyphens."),
        ("x" * 64, "lower-case letters"),
        ("top-up-credits", "already a plugin top-up-credits, from built-in"),
        ("import", "a keyword of Python. Choose another name, for example import-plugin."),
        ("json", "like a module of Python's standard library"),
        ("tornado", "a module of this name is installed"),
        ("datalayer-stripe", "a module of this name is installed"),
        ("pyjwt", "a package named pyjwt is installed"),
    ],
)
def test_invalid_name_is_refused_with_a_suggestion(tmp_path: Path, name: str, message: str) -> None:
    assert message in refused(tmp_path, name)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_existing_path_is_not_overwritten(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "my-plugin"
    path.mkdir() if kind == "folder" else path.write_text("existing", encoding="utf-8")
    assert "exists already and is not overwritten" in refused(tmp_path, "my-plugin")


def test_all_unknown_types_are_reported(tmp_path: Path) -> None:
    message = refused(tmp_path, "my-plugin", "--on", "invoice.payed", "--on", "x.y")
    assert message.splitlines() == [
        "Stripe has no event type invoice.payed. Did you mean invoice.paid?",
        "Stripe has no event type x.y. https://docs.stripe.com/api/events/types",
    ]


def test_missing_directory_is_refused(tmp_path: Path) -> None:
    answer = new(tmp_path / "nowhere", "my-plugin")
    assert answer.exit_code == 2
    assert "does not exist" in answer.stderr
