"""The image: its Dockerfile is linted, and its steps run in an empty folder.

No Docker engine is needed. `tests/support/image.py` says what differs from `docker build`.
"""

import asyncio
import re
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from datalayer_stripe._version import __version__
from datalayer_stripe.sandbox import Sandbox
from tests.support.app import json_of
from tests.support.command import complete
from tests.support.dockerfile import read_stages
from tests.support.image import DEBIAN_RELEASE, Image, as_root, build, install_debian, require_tools
from tests.support.lock_file import LOCK_FILE
from tests.support.packaging import ROOT
from tests.support.serving import serve
from tests.support.shop import Shop

DOCKERFILE = ROOT / "Dockerfile"
INSTALLED = Path("opt/datalayer-stripe")


def test_both_stages_begin_with_one_image_that_is_pinned_by_its_digest() -> None:
    base, build_stage, final = read_stages(DOCKERFILE.read_text(encoding="utf-8"))
    pinned = rf"python:3\.\d+\.\d+-slim-{DEBIAN_RELEASE}@sha256:[0-9a-f]{{64}}"
    assert re.fullmatch(pinned, base.image)
    assert not base.instructions
    assert build_stage.image == final.image == base.name


def test_everything_that_the_image_copies_is_in_the_build_context() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = {
        source
        for stage in read_stages(DOCKERFILE.read_text(encoding="utf-8"))
        for one in stage.instructions
        if one.keyword == "COPY" and "--from" not in one.arguments
        for source in one.arguments.split()[:-1]
    }
    assert ignored[1] == "*"
    assert copied == {line[1:] for line in ignored if line.startswith("!")}


@pytest.mark.deployment
def test_hadolint_finds_nothing() -> None:
    hadolint = Path(sysconfig.get_path("scripts"), "hadolint")
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    require_tools("mmdebstrap", "bwrap")
    folder = tmp_path_factory.mktemp("image")
    yield build(DOCKERFILE, install_debian(folder), folder, VERSION=__version__, REVISION="0123abc")
    subprocess.run([*as_root(), "rm", "--recursive", "--one-file-system", str(folder)], check=True)


@pytest.mark.deployment
def test_image_has_the_locked_versions_and_nothing_else(image: Image) -> None:
    python = [f"/{INSTALLED}/bin/python", "-c"]
    listing = "from importlib.metadata import distributions as d; "
    listing += "print(*(f'{one.name}=={one.version}' for one in d()), sep='\\n')"
    command = image.run_command(*python, listing, variables={})
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    installed = {one.name.lower(): one for one in map(Requirement, printed.split())}
    locked = re.findall(r"^([a-z0-9-]+)==(\S+)", LOCK_FILE.read_text("utf-8"), re.MULTILINE)
    versions = dict(locked)
    assert str(installed.pop("datalayer-stripe").specifier) == f"=={__version__}"
    assert {"uvloop", "stripe", "tornado"} < installed.keys()
    assert not {"pip", "setuptools", "mongomock", "mongomock-motor"} & installed.keys()
    for name, one in installed.items():
        assert str(one.specifier) == f"=={versions[name.replace('_', '-')]}"


@pytest.mark.deployment
def test_image_is_labelled_and_its_files_do_not_depend_on_the_time_of_the_build(
    image: Image,
) -> None:
    labels = {name.rpartition(".")[2]: value for name, value in image.labels.items()}
    assert labels["version"] == __version__
    assert labels["revision"] == "0123abc"
    assert labels["licenses"] == "BSD-3-Clause"
    compiled = list((image.root / INSTALLED).rglob("datalayer_stripe/**/*.pyc"))
    assert len(compiled) > 100
    # 3: the source is compared by its hash, https://peps.python.org/pep-0552/#specification
    assert {path.read_bytes()[4] for path in compiled} == {3}


@pytest.mark.deployment
@pytest.mark.mongod
@pytest.mark.gen_test
async def test_service_runs_as_its_user_on_a_read_only_file_system(
    image: Image,
    mongodb_url: str,
    sandbox: Sandbox,
    shop: Shop,
    bearer: Callable[..., str],
) -> None:
    assert image.user == "10001:10001"
    variables = _ours(complete(mongodb_url, sandbox, shop))
    command = image.run_command(*image.entrypoint, *image.command, variables=variables)
    async with serve({}, bearer, "--host", "127.0.0.1", command=command) as serving:
        assert (await serving.api.get("/healthz")).code == 200
        assert json_of(await serving.api.get("/readyz"))["status"] == "ready"
        port = serving.api.url.rpartition(":")[2]
        assert await _health(image, port) == 0
        assert _users_of(f"/{INSTALLED}/bin/datalayer-stripe") == {10001}
    assert await _health(image, port) != 0


@pytest.mark.deployment
@pytest.mark.mongod
@pytest.mark.gen_test
async def test_several_processes_need_only_a_writable_folder_for_temporary_files(
    image: Image,
    mongodb_url: str,
    sandbox: Sandbox,
    shop: Shop,
    bearer: Callable[..., str],
) -> None:
    variables = _ours(complete(mongodb_url, sandbox, shop))
    several = [*image.entrypoint, *image.command, "--processes", "2", "--host", "127.0.0.1"]
    command = image.run_command(*several, variables=variables, writable=("/tmp",))
    async with serve({}, bearer, command=command) as serving:
        assert json_of(await serving.api.get("/readyz"))["status"] == "ready"
        metrics = (await serving.api.get("/metrics")).body.decode()
        assert "datalayer_stripe_requests_total" in metrics
    command = image.run_command(*several, variables=variables)
    refused = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, printed = await refused.communicate()
    assert refused.returncode == 2
    assert "Set TMPDIR to a folder that the service may write to" in printed.decode()


def _ours(variables: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name.startswith("DATALAYER_")}


async def _health(image: Image, port: str) -> int:
    check = [part.replace("9700", port) for part in image.health_check]
    assert check != image.health_check
    command = image.run_command(*check, variables={})
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    return await process.wait()


def _users_of(program: str) -> set[int]:
    """Return the ids of the users whose processes run a Python program."""
    users = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            words = (process / "cmdline").read_bytes().split(b"\0")
            if len(words) > 1 and words[1] == program.encode():
                users.add(process.stat().st_uid)
    return users
