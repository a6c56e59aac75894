"""The tutorial of docs/plugins.md, run as it is written, in an empty environment.

The package that results is then installed, and runs in a `serve` process.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pymongo import MongoClient

from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.service import Service
from tests.support.app import ACCOUNT, Api, json_of, recorded
from tests.support.command import complete
from tests.support.packaging import ROOT, build_wheel, copy_sources
from tests.support.shop import Shop

pytestmark = pytest.mark.packages

DOCUMENT = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
TITLE = "## From zero to a published package in ten minutes\n"
TUTORIAL = DOCUMENT.partition(TITLE)[2].partition("\n## ")[0]

NOT_RUN = ("twine upload dist/*\n",)


@dataclass(frozen=True)
class Block:
    """A fenced block, and the path of the file that the line before it names."""

    language: str
    text: str
    file: str | None

    @property
    def is_run(self) -> bool:
        return self.language == "sh" and self.text not in NOT_RUN


def blocks() -> list[Block]:
    found = []
    before = ""
    for part in re.split(r"(^```\w+\n.*?^```$)", TUTORIAL, flags=re.M | re.S):
        if part.startswith("```"):
            language, _, text = part[3:-3].partition("\n")
            named = re.search(r"`([^`]+)`:\s*\Z", before)
            found.append(Block(language, text, named.group(1) if named else None))
        before = part
    return found


@dataclass(frozen=True)
class Tutorial:
    """The result of the tutorial.

    Attributes:
        folder: The folder in which its commands ran.
        environment: The environment variables of the commands.
        printed: The output of each block.
    """

    folder: Path
    environment: dict[str, str]
    printed: list[str]

    def run(self, command: str) -> tuple[int, str]:
        """Run a command in the package's folder, and return its exit code and output."""
        lines = f"cd {self.folder}; . .venv/bin/activate; cd top-up-count; {command}"
        return bash(lines, self.folder, self.environment)


def bash(script: str, folder: Path, environment: dict[str, str]) -> tuple[int, str]:
    ended = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", script],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return ended.returncode, re.sub(r"\x1b\[[0-9;]*m", "", ended.stdout)  # without colors


MARK = "==== block ===="


def script() -> str:
    """Return the tutorial as one script: commands are run, Python is saved to its file."""
    parts = []
    for block in blocks():
        parts.append(f"echo '{MARK}'\n")
        if block.is_run:
            parts.append(block.text)
        elif block.language == "python":
            parts.append(f"cat > {block.file} <<'END OF FILE'\n{block.text}END OF FILE\n")
    return "".join(parts)


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Tutorial:
    wheel = build_wheel(copy_sources(tmp_path_factory.mktemp("sources")))
    folder = tmp_path_factory.mktemp("author")
    tools = tmp_path_factory.mktemp("tools")
    python = tools / "python"  # not the one of a virtual environment
    base = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    python.write_text(f'#!/bin/sh\nexec {base} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment = {
        **{name: value for name, value in ours.items() if "DATALAYER" not in name},
        "PATH": f"{tools}:/usr/bin:/bin",
        "PIP_FIND_LINKS": f"{wheel.parent} {os.environ.get('PIP_FIND_LINKS', '')}".strip(),
        "PIP_QUIET": "1",
        "PIP_NO_COMPILE": "1",  # saves time
    }
    code, printed = bash(script(), folder, environment)
    assert code == 0, printed
    return Tutorial(folder, environment, printed.split(MARK + "\n")[1:])


def test_each_python_block_names_its_file() -> None:
    files = [block.file for block in blocks() if block.language == "python"]
    assert files == ["src/top_up_count/plugin.py", "tests/test_plugin.py"]
    assert {block.language for block in blocks()} == {"sh", "python", "text"}


def test_files_of_the_table_are_written(tutorial: Tutorial) -> None:
    files = re.findall(r"^\| `([\w./]+)` \|", TUTORIAL, re.MULTILINE)
    assert len(files) == 5
    for file in files:
        assert (tutorial.folder / "top-up-count" / file).is_file(), file


def words(line: str) -> list[str]:
    """Return the words of a line. All seconds are replaced by the same number."""
    return re.sub(r"\b\d+\.\d\b(?!\.)", "0.0", line).split()


def contains_line(printed: str, line: str) -> bool:
    """Return whether some line of the output has all these words, side by side."""
    wanted = f" {' '.join(words(line))} "
    return any(wanted in f" {' '.join(words(one))} " for one in printed.splitlines())


def test_commands_print_what_the_tutorial_shows(tutorial: Tutorial) -> None:
    printed = ""
    shown = 0
    _, listed = tutorial.run("datalayer-stripe plugins list")
    for block, out in zip(blocks(), tutorial.printed, strict=True):
        if block.is_run:
            printed = out
        if block.language == "text" and not block.text.startswith(("Fault: ", "top-up-count ")):
            for line in filter(None, block.text.splitlines()):
                assert contains_line(printed, line), f"{line!r} is not in:\n{printed}"
                shown += 1
        if block.text.startswith("top-up-count "):
            assert contains_line(listed, block.text), listed
            shown += 1
    assert shown == 10


def test_misspelt_type_is_reported_as_the_tutorial_shows(tutorial: Tutorial) -> None:
    [shown] = [block.text.strip() for block in blocks() if block.text.startswith("Fault: ")]
    file = tutorial.folder / "top-up-count" / "src" / "top_up_count" / "plugin.py"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("payment_intent.succeeded", "payment_intent.success"))
    try:
        code, printed = tutorial.run("datalayer-stripe plugins check .")
    finally:
        file.write_text(text, encoding="utf-8")
    assert code == 1
    assert shown in printed.splitlines()


@asynccontextmanager
async def serving(
    tutorial: Tutorial, variables: dict[str, str], bearer: Callable[..., str]
) -> AsyncIterator[Api]:
    """Run `serve` in the author's environment."""
    command = tutorial.folder / ".venv" / "bin" / "datalayer-stripe"
    process = await asyncio.create_subprocess_exec(
        command, "serve", "--port", "0", env=variables, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    lines: list[dict[str, Any]] = []
    try:
        while not lines or lines[-1]["message"] != "listening":
            line = await process.stderr.readline()
            assert line, lines
            lines.append(json.loads(line))
        assert "top-up-count" in lines[-1]["plugins"]
        port = int(lines[-1]["url"].rsplit(":", 1)[1])
        api = Api(
            port, cast("Service", SimpleNamespace()), bearer
        )  # the service runs in the process
        yield api
        api.http.close()
    finally:
        process.kill()
        await process.wait()


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_built_package_counts_each_event_once(
    tutorial: Tutorial, mongodb_url: str, sandbox: Sandbox, shop: Shop, bearer: Callable[..., str]
) -> None:
    wheel = "dist/top_up_count-0.1.0-py3-none-any.whl"
    code, printed = tutorial.run(f"pip uninstall --yes top-up-count; pip install --no-deps {wheel}")
    assert code == 0, printed
    _, listed = tutorial.run("datalayer-stripe plugins list")
    assert contains_line(listed, "top-up-count 100 on - top-up-count 0.1.0")
    code, printed = tutorial.run(
        "datalayer-stripe plugins check ."
    )  # the installed package is replaced
    assert code == 0, printed
    variables = complete(mongodb_url, sandbox, shop)
    body = recorded("payment_intent.succeeded")
    outcomes = []
    for _ in range(2):  # the second time in another process
        async with serving(tutorial, variables, bearer) as api:
            outcomes += [json_of(await api.deliver(body))["outcome"] for _ in range(2)]
            assert await api.credits() == 50
    assert outcomes == ["processed", "duplicate", "duplicate", "duplicate"]
    with MongoClient[dict[str, Any]](mongodb_url, tz_aware=True) as client:
        database = client.get_default_database()
        counted = {"_id": ACCOUNT, "top_ups": 1, "credits": 50}
        assert list(database["plugin_top-up-count"].find()) == [counted]
        assert database["ledger"].count_documents({}) == 1
