"""Build the JupyterLab extension in a folder of the virtual environment.

`make labextension` builds it and replaces the prebuilt files. A test compares them with a build.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.mongod import must_have_mongod

SOURCES = Path(__file__).parents[2] / "labextension"
PREBUILT = SOURCES / "prebuilt"
_TIMEOUT = 600  # seconds


class NotBuilt(Exception):
    """The extension cannot be built on this machine."""


def build() -> Path:
    """Build the extension, and return the folder of the built files.

    Raises:
        NotBuilt: npm is missing, or a command of it failed.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise NotBuilt("the JupyterLab extension is built with Node.js and npm, which is missing")
    lock = (SOURCES / "package-lock.json").read_bytes()
    folder = Path(sys.prefix) / "labextension" / hashlib.sha256(lock).hexdigest()[:16]
    installed = folder / "node_modules" / ".installed"
    shutil.copytree(SOURCES, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("prebuilt"))
    if not installed.exists():
        # No script of a dependency has to run.
        options = ["--ignore-scripts", "--engine-strict", "--no-audit", "--no-fund"]
        _run([npm, "ci", *options, "--fetch-retries=0"], folder)
        installed.touch()
    _run([npm, "run", "build"], folder)
    return folder / "prebuilt"


def require() -> Path:
    """Build the extension. Without npm, skip the test, or fail it in continuous integration."""
    try:
        return build()
    except NotBuilt as error:
        if must_have_mongod():
            pytest.fail(str(error))
        pytest.skip(str(error))


def _run(command: list[str], folder: Path) -> None:
    try:
        ended = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotBuilt(f"{' '.join(command[1:3])} took longer than {_TIMEOUT} s") from None
    if ended.returncode != 0:
        raise NotBuilt(f"{' '.join(command[1:3])} failed:\n{ended.stdout}{ended.stderr}")


def main() -> None:
    try:
        built = build()
    except NotBuilt as error:
        sys.exit(str(error))
    shutil.rmtree(PREBUILT, ignore_errors=True)
    shutil.copytree(built, PREBUILT)
    for path in sorted(PREBUILT.rglob("*.*")):
        print(f"{path.relative_to(SOURCES.parent)}  {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
