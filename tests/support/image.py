"""Build the image without a Docker engine: run the steps of the Dockerfile in a folder.

The folder begins with a minimal Debian of the image's release, with Debian's Python of the image's
version, which `mmdebstrap` installs. Each `RUN` runs in it by `bwrap`, and so does the image's
command later: on a read-only file system, as the image's user, without any capability.

It is not the image of a registry: that has Python in another folder, and more packages of Debian.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.dockerfile import read_stages, substitute
from tests.support.missing import skip_or_fail
from tests.support.packaging import ROOT

DEBIAN_RELEASE = "trixie"
_PACKAGES = "ca-certificates,passwd,python-is-python3,python3,python3-pip,python3-venv"
_WITHOUT = ("doc", "locale", "man")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TIMEOUT = 300  # seconds

# What a step needs of the machine to reach a package registry.
_NETWORK_FILES = ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs", "/etc/pip.conf")
_NETWORK_VARIABLE = re.compile(
    r"PIP_(INDEX_URL|EXTRA_INDEX_URL|CERT|DEFAULT_TIMEOUT)|(https?|no)_proxy|SSL_CERT_FILE",
    re.IGNORECASE,
)


@dataclass
class Image:
    """What the steps of a stage have made so far, and how it is run.

    Attributes:
        root: The folder with its files.
        environment: Its environment variables.
        labels: Its labels.
        folder: The current folder.
        user: The user that runs it, as `uid:gid`.
        entrypoint: The beginning of its command.
        command: The rest of its command.
        health_check: The command that checks it.
    """

    root: Path
    environment: dict[str, str] = field(default_factory=lambda: {"PATH": _PATH})
    labels: dict[str, str] = field(default_factory=dict)
    folder: str = "/"
    user: str = "0:0"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health_check: list[str] = field(default_factory=list)

    def run_command(
        self, *command: str, variables: dict[str, str], writable: tuple[str, ...] = ()
    ) -> list[str]:
        """Return the command line that runs a command in the image as `docker run --read-only`.

        Args:
            *command: The command.
            variables: Further environment variables.
            writable: Folders that are empty and writable, as with `--tmpfs`.
        """
        uid, gid = self.user.split(":")
        sandboxed = ["--ro-bind", str(self.root), "/", "--proc", "/proc", "--dev", "/dev"]
        for folder in writable:
            sandboxed += ["--perms", "1777", "--tmpfs", folder]
        environment = {**self.environment, **variables}
        sandboxed += [word for pair in environment.items() for word in ("--setenv", *pair)]
        dropped = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"]
        dropped += ["--no-new-privs", "--bounding-set=-all", "--"]
        # bwrap's own process is the first one of the sandbox, and its end is the end of all others.
        options = ["--clearenv", "--unshare-pid", "--die-with-parent", "--chdir", self.folder]
        return [*as_root(), "bwrap", *options, *sandboxed, *dropped, *command]


def as_root() -> list[str]:
    """Return the command that runs another one as root, without a question."""
    return [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]


def require_tools(*names: str) -> None:
    """Skip the test if a program is missing. In continuous integration, fail it."""
    missing = [name for name in names if shutil.which(name) is None]
    if missing:
        skip_or_fail(f"needs {', '.join(missing)}: make deployment-tools")


def install_debian(folder: Path) -> Path:
    """Install a minimal Debian with Python into a folder, and return it."""
    root = folder / "debian"
    command = ["mmdebstrap", "--mode=root", "--quiet", "--variant=essential"]
    command += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in _WITHOUT]
    command += [f"--include={_PACKAGES}", DEBIAN_RELEASE, str(root)]
    _check([*as_root(), *command])
    return root


def build(dockerfile: Path, debian: Path, folder: Path, **build_args: str) -> Image:
    """Run the steps of a Dockerfile, and return the image of its last stage.

    Args:
        dockerfile: The Dockerfile.
        debian: What stands for the image of its first `FROM`. The last stage changes it.
        folder: Where the folders of the stages are created.
        **build_args: Values of its `ARG`s.
    """
    images: dict[str, Image] = {}
    stages = read_stages(dockerfile.read_text(encoding="utf-8"))
    for number, stage in enumerate(stages, 1):
        root = debian
        if stage.instructions and number < len(stages):  # the last stage needs no copy
            root = folder / f"stage{number}"
            _check([*as_root(), "cp", "--archive", "--reflink=auto", str(debian), str(root)])
        running = _Stage(Image(root), images, build_args)
        for one in stage.instructions:
            getattr(running, one.keyword.lower())(one.arguments)
        images[stage.name] = running.image
    return images[stages[-1].name]


class _Stage:
    """Runs the instructions of a stage, each by the method of its name."""

    def __init__(self, image: Image, images: dict[str, Image], build_args: dict[str, str]) -> None:
        self.image = image
        self._images = images
        self._build_args = build_args
        self._arguments: dict[str, str] = {}

    def arg(self, text: str) -> None:
        name, _, default = text.partition("=")
        self._arguments[name] = self._build_args.get(name, default.strip('"'))

    def env(self, text: str) -> None:
        self.image.environment |= self._pairs(text)

    def label(self, text: str) -> None:
        self.image.labels |= self._pairs(text)

    def workdir(self, text: str) -> None:
        self.image.folder = text
        _check([*as_root(), "mkdir", "--parents", f"{self.image.root}{text}"])

    def copy(self, text: str) -> None:
        *sources, target = text.split()
        source_root = ROOT
        if sources[0].startswith("--from="):
            source_root = self._images[sources.pop(0).removeprefix("--from=")].root
        inside = os.path.normpath(os.path.join(self.image.folder, target))
        destination = f"{self.image.root}{inside}"
        for name in sources:
            source = source_root / name.lstrip("/")
            copied = str(source)
            if source.is_dir():  # the content of a folder is copied, not the folder
                _check([*as_root(), "mkdir", "--parents", destination])
                copied += "/."
            command = [*as_root(), "cp", "--archive", "--no-preserve=ownership"]
            _check([*command, copied, destination])

    def run(self, script: str) -> None:
        root = str(self.image.root)
        command = ["bwrap", "--bind", root, "/", "--proc", "/proc", "--dev", "/dev"]
        command += ["--tmpfs", "/tmp", "--unshare-pid", "--die-with-parent", "--clearenv"]
        command += ["--chdir", self.image.folder]
        for path in _NETWORK_FILES:
            command += ["--ro-bind-try", path, path]
        environment = {
            **{name: value for name, value in os.environ.items() if _NETWORK_VARIABLE.match(name)},
            **self._arguments,
            **self.image.environment,
        }
        command += [word for pair in environment.items() for word in ("--setenv", *pair)]
        _check([*as_root(), *command, "sh", "-c", script])

    def user(self, text: str) -> None:
        self.image.user = text

    def healthcheck(self, text: str) -> None:
        self.image.health_check = json.loads(text.partition("CMD ")[2])

    def entrypoint(self, text: str) -> None:
        self.image.entrypoint = json.loads(text)

    def cmd(self, text: str) -> None:
        self.image.command = json.loads(text)

    def expose(self, text: str) -> None:
        """Do nothing: it is a comment for people."""

    def _pairs(self, text: str) -> dict[str, str]:
        known = {**self._arguments, **self.image.environment}
        return dict(pair.split("=", 1) for pair in shlex.split(substitute(text, known)))


def _check(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"
