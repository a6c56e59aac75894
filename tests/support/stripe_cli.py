"""The official Stripe CLI, from npm, in a folder of the virtual environment.

`make stripe-cli` installs it. The tests that need it install it too, if npm is on PATH.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

VERSION = "1.52.0"
_FOLDER = Path(sys.prefix) / "stripe-cli"
_TIMEOUT = 120  # seconds


class NotInstalled(Exception):
    """The Stripe CLI is not installed, and cannot be."""


def install() -> Path:
    """Return the path of the Stripe CLI; install it if it is missing or has another version.

    Raises:
        NotInstalled: npm is missing, or cannot install it.
    """
    folder = _FOLDER / VERSION
    found = _program_in(folder)
    if found is not None:
        return found
    npm = shutil.which("npm")
    if npm is None:
        raise NotInstalled("the Stripe CLI needs npm, which is not on PATH")
    folder.mkdir(parents=True, exist_ok=True)
    # The program is in a package of its own for each platform; no script has to run.
    command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save"]
    command += ["--fetch-retries=0", "--prefix", str(folder), f"@stripe/cli@{VERSION}"]
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotInstalled("npm did not install the Stripe CLI in time") from None
    found = _program_in(folder)
    if found is None:
        raise NotInstalled(f"npm cannot install the Stripe CLI: {ended.stderr[-500:]}")
    return found


def require() -> Path:
    """Return the path of the Stripe CLI.

    The test is skipped without it: not every machine has npm, or reaches its registry. The tests of
    the sandbox check each operation that the CLI uses.
    """
    try:
        return install()
    except NotInstalled as error:
        pytest.skip(f"the Stripe CLI is not installed: {error}")


def _program_in(folder: Path) -> Path | None:
    return next(folder.glob("node_modules/@stripe/cli-*/bin/stripe*"), None)


if __name__ == "__main__":
    try:
        print(install())
    except NotInstalled as error:
        sys.exit(str(error))
