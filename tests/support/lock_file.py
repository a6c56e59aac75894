"""Write `requirements.lock`, from which the image is built: `make lock`.

The file has the versions and hashes of what the package and some of its extras need, and of what
builds the package, for each supported version of Python and each platform. Versions that are in the
file stay, unless they no longer fit; with `--upgrade` the newest ones are taken.
"""

import argparse
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

from tests.support.packaging import ROOT

LOCK_FILE = ROOT / "requirements.lock"

EXTRAS = ("fast", "demo", "otel")
"""The extras that an image may be built with, by `--build-arg EXTRAS=…`."""


def build_requirements() -> list[str]:
    """Return what the build system needs."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return list(pyproject["build-system"]["requires"])


def oldest_python() -> str:
    """Return the oldest supported version of Python, such as `3.11`."""
    return str(distribution("datalayer-stripe").metadata["Requires-Python"]).removeprefix(">=")


def write(path: Path, *, upgrade: bool = False) -> None:
    """Write the lock file.

    Args:
        path: The file. The versions that it has stay if they fit.
        upgrade: Whether to take the newest versions instead.

    Raises:
        SystemExit: Uv cannot find versions that fit.
    """
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv"
    command = [uv, "pip", "compile", "--quiet", "--universal", "--generate-hashes"]
    command += ["--python-version", oldest_python(), "--no-annotate"]
    command += ["--custom-compile-command", "make lock", "--output-file", str(path)]
    command += [option for extra in EXTRAS for option in ("--extra", extra)]
    command += ["--upgrade"] if upgrade else []
    requirements = "\n".join(build_requirements())
    # uv reads the requirements of the build from stdin, `-`.
    done = subprocess.run(
        [*command, "pyproject.toml", "-"], cwd=ROOT, input=requirements, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    before = LOCK_FILE.read_text(encoding="utf-8")
    write(LOCK_FILE, upgrade=parser.parse_args().upgrade)
    is_same = LOCK_FILE.read_text(encoding="utf-8") == before
    print(f"{LOCK_FILE.name}: {'unchanged' if is_same else 'updated'}")
