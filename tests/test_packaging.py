"""The wheel and the source distribution: their files, metadata, commands and entry points."""

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Callable
from configparser import ConfigParser
from email.message import Message
from email.parser import Parser
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import datalayer_stripe
from datalayer_stripe import Plugin
from datalayer_stripe._version import __version__
from tests.support.labextension import PREBUILT
from tests.support.packaging import ROOT, build_wheel, copy_sources, run
from tests.support.release_check import NotReady, check_changelog

LABEXTENSION = "share/jupyter/labextensions/datalayer-stripe"
PLUGINS = sorted(path.stem for path in (ROOT / "plugins").glob("[!_]*.py"))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def wheel(sources: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(build_wheel(sources))


def metadata_of(wheel: zipfile.ZipFile, name: str) -> str:
    return wheel.read(f"datalayer_stripe-{__version__}.dist-info/{name}").decode()


def test_wheel_contains_exactly_the_package_the_plugins_and_the_configuration(
    wheel: zipfile.ZipFile,
) -> None:
    modules = {name for name in wheel.namelist() if ".dist-info/" not in name}
    data = {name for name in modules if ".data/data/" in name}
    packaged = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "datalayer_stripe").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    plugins = {f"datalayer_stripe_plugins/{path.name}" for path in (ROOT / "plugins").glob("*.py")}
    assert modules - data == packaged | plugins
    assert "datalayer_stripe/py.typed" in modules
    assert {name.partition(".data/data/")[2] for name in data} == {
        "etc/datalayer-stripe/datalayer-stripe.env.example",
        "etc/datalayer-stripe/logging.toml",
        "etc/datalayer-stripe/grafana/datalayer-stripe.json",
        "etc/datalayer-stripe/prometheus/rules.yml",
        "etc/jupyter/jupyter_server_config.d/datalayer_stripe.json",
        f"{LABEXTENSION}/install.json",
        *(
            f"{LABEXTENSION}/{path.relative_to(PREBUILT)}"
            for path in PREBUILT.rglob("*")
            if path.is_file()
        ),
    }


def test_wheel_has_the_expected_metadata(wheel: zipfile.ZipFile) -> None:
    metadata: Message = Parser().parsestr(metadata_of(wheel, "METADATA"))
    assert metadata["Name"] == "datalayer-stripe"
    assert metadata["Version"] == __version__ == datalayer_stripe.__version__
    assert metadata["License-Expression"] == "BSD-3-Clause AND Apache-2.0 AND MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra", [])) == {
        "fast",
        "demo",
        "testing",
        "jupyter",
        "otel",
        "test",
        "dev",
        "release",
        "audit",
        "deployment",
        "bench",
        "docs",
    }
    assert "BSD 3-Clause" in metadata_of(wheel, "licenses/LICENSE")
    vendored = (ROOT / "datalayer_stripe" / "web").glob("*/vendor/*")
    names = {
        str(path.relative_to(ROOT)) for path in vendored if re.search("LICENSE|NOTICE", path.name)
    }
    assert {"LICENSE", *names} == set(metadata.get_all("License-File", []))
    assert len(names) == 4


def test_links_of_the_description_are_absolute_and_exist(wheel: zipfile.ZipFile) -> None:
    description = Parser().parsestr(metadata_of(wheel, "METADATA")).get_payload()
    assert isinstance(description, str)
    targets = re.findall(r"\]\(([^)#]+)", description)
    files = f"https://github.com/datalayer/datalayer-stripe/(?:blob|raw)/v{__version__}/"
    paths = [re.sub(files, "", target) for target in targets]
    assert f"{files.replace('(?:blob|raw)', 'raw')}docs/images/checkout-desktop.png" in targets
    assert all(path.startswith("https://") or (ROOT / path).exists() for path in paths), paths
    assert len(targets) == len(re.findall(r"\]\((?!#)", (ROOT / "README.md").read_text()))


def test_classifiers_name_the_versions_of_python_that_the_workflow_runs(
    wheel: zipfile.ZipFile,
) -> None:
    metadata = Parser().parsestr(metadata_of(wheel, "METADATA"))
    prefix = "Programming Language :: Python :: "
    named = [line.removeprefix(prefix) for line in metadata.get_all("Classifier", [])]
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    (versions,) = re.findall(r"^ +python: \[(.*)\]$", workflow, re.MULTILINE)
    assert [one for one in named if re.fullmatch(r"3\.\d+", one)] == re.findall(r"[\d.]+", versions)


CHANGELOG = "# Changelog\n\n## [1.2.0] - 2026-11-26\n\n- New.\n\n## [1.1.0] - 2026-10-01\n"


def test_release_has_the_version_and_date_of_the_newest_section() -> None:
    assert check_changelog(CHANGELOG, "1.2.0", tag=None) == "2026-11-26"
    assert check_changelog(CHANGELOG, "1.2.0", tag="v1.2.0") == "2026-11-26"
    unreleased = CHANGELOG.replace("2026-11-26", "unreleased")
    assert check_changelog(unreleased, "1.2.0", tag=None) == "unreleased"


@pytest.mark.parametrize(
    ("changelog", "version", "tag", "reason"),
    [
        (CHANGELOG, "1.3.0", None, "newest section of CHANGELOG.md is 1.2.0"),
        ("# Changelog\n", "1.2.0", None, "is none"),
        (CHANGELOG.replace("2026-11-26", "soon"), "1.2.0", None, "'soon'"),
        (CHANGELOG, "1.2.0", "v1.1.0", "tag of this commit is v1.1.0"),
        (CHANGELOG.replace("2026-11-26", "unreleased"), "1.2.0", "v1.2.0", "write its date"),
    ],
)
def test_release_is_refused(changelog: str, version: str, tag: str | None, reason: str) -> None:
    with pytest.raises(NotReady, match=reason):
        check_changelog(changelog, version, tag)


def test_wheel_has_entry_points_for_commands_and_all_plugins(wheel: zipfile.ZipFile) -> None:
    parser = ConfigParser()
    parser.read_string(metadata_of(wheel, "entry_points.txt"))
    assert dict(parser["console_scripts"]) == {
        "datalayer-stripe": "datalayer_stripe.cli.main:main",
        "jupyter-datalayer-stripe": "datalayer_stripe.jupyter:main",
    }
    assert dict(parser["datalayer_stripe.plugins"]) == {
        name.replace("_", "-"): f"datalayer_stripe_plugins.{name}:plugin" for name in PLUGINS
    }


@pytest.fixture(scope="module")
def installed(
    wheel: zipfile.ZipFile, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., str]:
    """Install the wheel in a new environment. Return a function that runs a command in it."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps"]
    run(*pip, str(wheel.filename), cwd=folder)
    # The dependencies are those of the tests' environment.
    (site,) = (folder / "lib").glob("*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if "JUPYTER" not in name}

    def printed(command: str, *arguments: str, expect: int = 0) -> str:
        result = subprocess.run(
            [folder / "bin" / command, *arguments],
            cwd=folder,
            env={**environment, "HOME": str(folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == expect, result.stdout + result.stderr
        return result.stdout + result.stderr

    return printed


@pytest.mark.packages
def test_installed_wheel_enables_the_jupyter_extension(
    installed: Callable[..., str],
) -> None:
    listed = installed("python", "-m", "jupyter_server", "extension", "list")
    listed = re.sub(r"\x1b\[\d*m", "", listed)
    assert re.search(r"datalayer_stripe enabled\n.*\n *datalayer_stripe \S+ OK", listed), listed


@pytest.mark.packages
def test_installed_wheel_enables_the_jupyterlab_extension(
    installed: Callable[..., str],
) -> None:
    listed = installed("python", "-m", "jupyterlab.labextensions", "list")
    listed = re.sub(r"\x1b\[\d*m", "", listed)
    assert f"datalayer-stripe v{__version__} enabled OK (python, datalayer-stripe)" in listed


@pytest.mark.packages
def test_installed_wheel_has_the_jupyter_command(installed: Callable[..., str]) -> None:
    shown = installed("jupyter-datalayer-stripe", "--help-all")
    assert "--DatalayerStripe.stripe_api_key=" in shown
    assert installed("jupyter-datalayer-stripe", "--version").strip() == __version__


@pytest.mark.packages
def test_package_works_without_jupyter_server(installed: Callable[..., str]) -> None:
    without = "import sys; sys.modules['jupyter_server'] = None; import datalayer_stripe"
    launch = "from datalayer_stripe.jupyter import main; main()"
    assert installed("python", "-c", f"{without}.cli") == ""
    refusal = installed("python", "-c", f"{without}; {launch}", expect=1)
    assert 'pip install "datalayer-stripe[jupyter]"' in refusal
    assert "Traceback" not in refusal


def test_sdist_contains_sources_plugins_and_tests(sources: Path) -> None:
    secret = sources / "conf" / "datalayer-stripe.env"
    secret.write_text("DATALAYER_STRIPE_API_KEY=")
    run(sys.executable, "setup.py", "--quiet", "sdist", "--dist-dir", "sdist", cwd=sources)
    secret.unlink()
    (path,) = (sources / "sdist").glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
    assert {f"plugins/{name}.py" for name in PLUGINS} < names
    assert {"LICENSE", "README.md", "CHANGELOG.md", "conf/logging.toml", "setup.py"} < names
    assert {"labextension/prebuilt/package.json", "labextension/src/index.ts"} < names
    assert "tests/test_packaging.py" in names
    assert not [name for name in names if "__pycache__" in name or name.endswith(".env")]


def test_built_in_plugins_are_installed_and_load() -> None:
    installed = entry_points(group="datalayer_stripe.plugins")
    ours = [one for one in installed if one.module.startswith("datalayer_stripe_plugins.")]
    assert sorted(one.module.split(".")[1] for one in ours) == PLUGINS, (
        "a file was added to plugins/ or removed from it: run `pip install --editable .` again"
    )
    for one in ours:
        assert isinstance(one.load(), Plugin), one.value


def test_installed_command_prints_its_version() -> None:
    command = Path(sys.executable).parent / "datalayer-stripe"
    result = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert __version__ in result.stdout


def test_package_imports_no_plugin_module() -> None:
    for path in (ROOT / "datalayer_stripe").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names.append(node.module)
            assert not [name for name in names if name.startswith("datalayer_stripe_plugins")], path


@pytest.mark.parametrize("has_pip", [True, False])
def test_make_keeps_an_environment_that_exists(tmp_path: Path, *, has_pip: bool) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    venv.create(tmp_path / ".venv", with_pip=False)
    [packages] = (tmp_path / ".venv").glob("lib/python3*/site-packages")
    if has_pip:
        (packages / "pip-1.0.dist-info").mkdir()
        (packages / "pip-1.0.dist-info" / "METADATA").write_text("Name: pip\nVersion: 1.0\n")
        (packages / "pip-1.0.dist-info" / "RECORD").write_text("pip-1.0.dist-info/METADATA,,\n")
    (packages / "installed_by_a_person.py").touch()
    # The `make` that runs the tests hands its variables on, such as PYTHON and VENV.
    made_by = {"MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "PYTHON", "VENV"}
    made = subprocess.run(
        ["make", "--no-print-directory", ".venv/.created"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name not in made_by},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert (packages / "installed_by_a_person.py").exists()
    assert (tmp_path / ".venv" / ".created").exists()
    assert made.stdout == ""
    assert list(packages.glob("pip-*.dist-info/RECORD"))


def test_columns_of_make_help_are_aligned() -> None:
    printed = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    found = [re.match(r"  make [a-z-]+ {2,}(?=\S)", line) for line in printed]
    assert len(found) > 10
    assert len({one and one.end() for one in found}) == 1, printed


def test_make_targets_in_the_docs_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    documents = [ROOT / "README.md", ROOT / ".ci" / "run", *(ROOT / "docs").rglob("*.md")]
    commands = {
        (path.name, target)
        for path in documents
        for target in re.findall(r"(?:^|`)make ([a-z-]+)", path.read_text(), re.MULTILINE)
    }
    assert ("README.md", "run") in commands
    assert ("README.md", "test") in commands
    assert {target for _, target in commands} <= targets


def test_make_help_lists_every_target() -> None:
    listed = subprocess.run(
        ["make", "help"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    assert re.findall(r"^  make ([a-z-]+)", listed, re.MULTILINE) == phony.group(1).split()
