"""Build the JupyterLab extension in a folder of the virtual environment.

`make labextension` builds it, replaces the prebuilt files, and stores a digest of the sources and
of what was built. `make test` compares the digest, and `make test-packages` builds again.
"""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.missing import skip_or_fail

SOURCES = Path(__file__).parents[2] / "labextension"
PREBUILT = SOURCES / "prebuilt"
DIGEST_FILE = SOURCES / "prebuilt.sha256"
_TIMEOUT = 600  # seconds


class NotInstalled(Exception):
    """What builds the extension is not installed, and cannot be."""


def build() -> Path:
    """Build the extension, and return the folder of the built files.

    Raises:
        NotInstalled: npm is missing, or cannot install the dependencies.
        CalledProcessError: The build failed.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise NotInstalled("the JupyterLab extension is built with npm, which is missing")
    folder = _install(npm)
    subprocess.run([npm, "run", "build"], cwd=folder, timeout=_TIMEOUT, check=True)
    return folder / "prebuilt"


def require() -> Path:
    """Build the extension. Without npm, skip the test, or fail it in continuous integration."""
    try:
        return build()
    except NotInstalled as error:
        skip_or_fail(str(error))


def contents(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder, by their paths in it."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def digest() -> str:
    """Return the digest of the sources and of the prebuilt files."""
    files = contents(SOURCES)
    kept = {
        name: hashlib.sha256(content).hexdigest()
        for name, content in files.items()
        if name != DIGEST_FILE.name and not name.startswith(("lib/", "node_modules/"))
    }
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def _install(npm: str) -> Path:
    """Copy the sources, and install their dependencies, once for each lock file.

    Raises:
        NotInstalled: npm cannot install them.
    """
    lock = (SOURCES / "package-lock.json").read_bytes()
    folder = Path(sys.prefix) / "labextension" / hashlib.sha256(lock).hexdigest()[:16]
    for name in ("src", "lib"):  # without files that were deleted
        shutil.rmtree(folder / name, ignore_errors=True)
    shutil.copytree(SOURCES, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("prebuilt"))
    installed = folder / "node_modules" / ".installed"
    if not installed.exists():
        # No script of a dependency has to run.
        command = [npm, "ci", "--ignore-scripts", "--engine-strict", "--no-audit", "--no-fund"]
        # A machine without the registry waits for a moment only.
        command += [
            "--fetch-retries=2",
            "--fetch-retry-mintimeout=1000",
            "--fetch-retry-maxtimeout=3000",
        ]
        try:
            ended = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired:
            raise NotInstalled("npm did not install the dependencies in time") from None
        if ended.returncode != 0:
            raise NotInstalled(f"npm cannot install the dependencies: {ended.stderr[-2000:]}")
        installed.touch()
    return folder


def main() -> None:
    try:
        built = build()
    except (NotInstalled, subprocess.CalledProcessError) as error:
        sys.exit(str(error))
    shutil.rmtree(PREBUILT, ignore_errors=True)
    shutil.copytree(built, PREBUILT)
    DIGEST_FILE.write_text(f"{digest()}\n", encoding="ascii")
    for path in sorted(PREBUILT.rglob("*.*")):
        print(f"{path.relative_to(SOURCES.parent)}  {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
