"""promtool, the checker of Prometheus' rules, from Debian's package `prometheus`.

`make promtool` unpacks it into the virtual environment. The package itself is not installed,
because that needs root and starts a server. The tests that need promtool do the same, if apt-get
is on PATH.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.missing import skip_or_fail

_PROGRAM = Path(sys.prefix) / "bin" / "promtool"
_TIMEOUT = 300  # seconds


class NotInstalled(Exception):
    """promtool is not installed, and cannot be."""


def install() -> Path:
    """Return the path of promtool; install it if it is missing.

    Raises:
        NotInstalled: There is no apt-get, or it cannot download the package.
    """
    if found := shutil.which("promtool"):
        return Path(found)
    if _PROGRAM.exists():
        return _PROGRAM
    if shutil.which("apt-get") is None:
        raise NotInstalled("it is not on PATH, and there is no apt-get")
    try:
        _unpack()
    except subprocess.CalledProcessError as error:
        hint = "Run `apt-get update` first, as root"
        raise NotInstalled(f"{error.cmd[0]}: {error.stderr[-500:].strip()}. {hint}") from None
    except subprocess.TimeoutExpired:
        raise NotInstalled("apt-get did not end in time") from None
    return _PROGRAM


def require() -> Path:
    """Return the path of promtool.

    Without it the test is skipped. In continuous integration it fails.
    """
    try:
        return install()
    except NotInstalled as error:
        skip_or_fail(f"promtool is not installed: {error}")


def run(*arguments: str, folder: Path) -> str:
    """Run promtool in a folder, and return what it prints; fail the test if it finds a fault."""
    ended = subprocess.run(
        [require(), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        check=False,
    )
    printed = ended.stdout + ended.stderr
    assert ended.returncode == 0, printed
    return printed


def _unpack() -> None:
    """Download the package, and take promtool out of it.

    Raises:
        CalledProcessError: The package cannot be downloaded.
    """
    with TemporaryDirectory() as temporary:
        os.chmod(temporary, 0o755)  # apt-get downloads as a user of its own
        _run("apt-get", "download", "--quiet", "prometheus", folder=temporary)
        [package] = Path(temporary).glob("prometheus_*.deb")
        _run("dpkg-deb", "--extract", str(package), "package", folder=temporary)
        # Complete or not at all, because other tests may look for it at the same time.
        copied = _PROGRAM.with_name(f"promtool.{os.getpid()}")
        shutil.move(Path(temporary, "package", "usr", "bin", "promtool"), copied)
        copied.replace(_PROGRAM)


def _run(*command: str, folder: str) -> None:
    subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT, check=True
    )


if __name__ == "__main__":
    try:
        print(install())
    except NotInstalled as error:
        sys.exit(str(error))
