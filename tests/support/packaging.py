"""Build the package in a folder of the test."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def copy_sources(folder: Path) -> Path:
    """Copy the sources, so that a build does not change the checkout."""
    copy = folder / "datalayer-stripe"
    # A name that starts with a dot is a cache, a virtual environment or version control.
    ignore = shutil.ignore_patterns(".[!d]*", "__pycache__", "build", "dist", "*.egg-info")
    shutil.copytree(ROOT, copy, ignore=ignore)
    return copy


def build_wheel(sources: Path) -> Path:
    """Build the wheel into `dist/` of the sources."""
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    run(*command, "--quiet", "--wheel-dir", "dist", ".", cwd=sources)
    (path,) = (sources / "dist").glob("*.whl")
    return path


def run(*command: str, cwd: Path) -> None:
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
