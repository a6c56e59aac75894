"""Check a release before it is published: `make release-check`.

Builds the source distribution and the wheel, installs each in an environment of its own outside the
checkout, and plays the demo's story with it. Checks that the changelog and a tag name the version,
and writes a list of all that the wheel installs (CycloneDX) beside it.
"""

import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from datalayer_stripe._version import __version__
from tests.support.packaging import ROOT

_HEADING = re.compile(r"^## \[([^\]]+)\] - (\S+)$", re.MULTILINE)
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


class NotReady(Exception):
    """The release is not ready to be published."""


def check_changelog(text: str, version: str, tag: str | None) -> str:
    """Check that the newest section of the changelog and the tag are of this version.

    Args:
        text: The changelog.
        version: The version of the package.
        tag: The tag of the present commit, if it has one.

    Returns:
        The date of the section, or `unreleased`.

    Raises:
        NotReady: They do not agree, or a tagged version has no date.
    """
    heading = _HEADING.search(text)
    if heading is None or heading[1] != version:
        newest = heading[1] if heading else "none"
        raise NotReady(
            f"The newest section of CHANGELOG.md is {newest}, and _version.py says {version}. "
            f"Begin CHANGELOG.md with: ## [{version}] - YYYY-MM-DD"
        )
    date = heading[2]
    if date != "unreleased" and not _DATE.fullmatch(date):
        raise NotReady(f"{date!r} in CHANGELOG.md is neither a date nor the word unreleased.")
    if tag is not None and tag != f"v{version}":
        raise NotReady(f"The tag of this commit is {tag}, and _version.py says {version}.")
    if tag is not None and date == "unreleased":
        raise NotReady(f"{tag} is tagged: write its date into CHANGELOG.md instead of unreleased.")
    return date


def main() -> None:
    """Run all checks, and print a line for each."""
    try:
        date = check_changelog((ROOT / "CHANGELOG.md").read_text(), __version__, _tag())
    except NotReady as error:
        sys.exit(str(error))
    print(f"version      {__version__}, {date} in CHANGELOG.md", flush=True)
    dist = ROOT / "dist"
    artifacts = [*dist.glob("*.whl"), *dist.glob("*.tar.gz")]
    if len(artifacts) != 2:
        sys.exit(
            f"dist/ does not hold exactly one wheel and one sdist: {artifacts}. Run make build."
        )
    _run(sys.executable, "-m", "twine", "check", "--strict", *map(str, artifacts))
    print("metadata     accepted by twine check --strict", flush=True)
    for artifact in artifacts:
        with tempfile.TemporaryDirectory() as folder:
            _install_and_use(artifact, Path(folder))
        print(f"{artifact.name}  installs, and plays the demo's story", flush=True)


def _tag() -> str | None:
    command = ["git", "describe", "--exact-match", "--tags", "HEAD"]
    described = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return described.stdout.strip() or None


def _install_and_use(artifact: Path, folder: Path) -> None:
    """Install a distribution in a new environment, and run its commands outside the checkout.

    Args:
        artifact: The wheel or the sdist.
        folder: An empty folder.
    """
    environment = folder / "environment"
    venv.create(environment, with_pip=False)
    python = environment / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    _run(*pip, "install", "--quiet", str(artifact), cwd=folder)
    if artifact.suffix == ".whl":
        # Before the demo's dependencies: this is what the package itself brings.
        sbom = artifact.with_name(f"{artifact.name.split('-py3')[0]}.cdx.json")
        command = [sys.executable, "-m", "cyclonedx_py", "environment", str(python)]
        command += ["--pyproject", str(ROOT / "pyproject.toml"), "--output-reproducible"]
        _run(*command, "--output-file", str(sbom), cwd=folder)
        print(f"{sbom.name}  written", flush=True)
    _run(*pip, "install", "--quiet", f"{artifact}[demo]", cwd=folder)
    program = str(environment / "bin" / "datalayer-stripe")
    if __version__ not in _run(program, "--version", cwd=folder):
        sys.exit(f"{artifact.name} does not print the version {__version__}.")
    _run(program, "demo", "--play", cwd=folder)


def _run(*command: str, cwd: Path = ROOT) -> str:
    """Return what a command prints. If it fails, print that and exit."""
    ended = subprocess.run(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if ended.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{ended.stdout}")
    return ended.stdout


if __name__ == "__main__":
    main()
