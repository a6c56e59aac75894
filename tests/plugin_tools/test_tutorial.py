"""docs/plugins.md from zero to a published package: typed as it stands, into an empty environment.

What comes of it, the plugin's package, is then installed and serves, as a process.
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

NOT_TYPED = ("twine upload dist/*\n",)


@dataclass(frozen=True)
class Block:
    """A fenced block, and the path of the file that the line before it names."""

    language: str
    text: str
    file: str | None

    @property
    def typed(self) -> bool:
        return self.language == "sh" and self.text not in NOT_TYPED


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
class Typed:
    """What an author has after the tutorial: a folder, an environment, and what each block said."""

    folder: Path
    environment: dict[str, str]
    printed: list[str]

    def run(self, command: str) -> tuple[int, str]:
        """Run a shell line in the package's folder: exit code, and what it printed."""
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
    return ended.returncode, re.sub(r"\x1b\[[0-9;]*m", "", ended.stdout)  # without colours


MARK = "==== block ===="


def script() -> str:
    """The tutorial as one script: lines are run, Python is saved, each block prints a mark."""
    parts = []
    for block in blocks():
        parts.append(f"echo '{MARK}'\n")
        if block.typed:
            parts.append(block.text)
        elif block.language == "python":
            parts.append(f"cat > {block.file} <<'END OF FILE'\n{block.text}END OF FILE\n")
    return "".join(parts)


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Typed:
    wheel = build_wheel(copy_sources(tmp_path_factory.mktemp("sources")))
    folder = tmp_path_factory.mktemp("author")
    tools = tmp_path_factory.mktemp("tools")
    python = tools / "python"  # that of no virtual environment
    base = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    python.write_text(f'#!/bin/sh\nexec {base} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment = {
        **{name: value for name, value in ours.items() if "DATALAYER" not in name},
        "PATH": f"{tools}:/usr/bin:/bin",
        "PIP_FIND_LINKS": f"{wheel.parent} {os.environ.get('PIP_FIND_LINKS', '')}".strip(),
        "PIP_QUIET": "1",
        "PIP_NO_COMPILE": "1",  # what is not run need not be compiled
    }
    code, printed = bash(script(), folder, environment)
    assert code == 0, printed
    return Typed(folder, environment, printed.split(MARK + "\n")[1:])


def test_each_block_of_python_says_where_it_goes() -> None:
    files = [block.file for block in blocks() if block.language == "python"]
    assert files == ["src/top_up_count/plugin.py", "tests/test_plugin.py"]
    assert {block.language for block in blocks()} == {"sh", "python", "text"}


def test_the_files_of_the_table_are_written(typed: Typed) -> None:
    files = re.findall(r"^\| `([\w./]+)` \|", TUTORIAL, re.MULTILINE)
    assert len(files) == 5
    for file in files:
        assert (typed.folder / "top-up-count" / file).is_file(), file


def words(line: str) -> list[str]:
    """The words of a line, with seconds that are as good as any."""
    return re.sub(r"\b\d+\.\d\b(?!\.)", "0.0", line).split()


def says(printed: str, line: str) -> bool:
    """Whether some line of what was printed has all these words, side by side."""
    wanted = f" {' '.join(words(line))} "
    return any(wanted in f" {' '.join(words(one))} " for one in printed.splitlines())


def test_it_prints_what_the_tutorial_shows(typed: Typed) -> None:
    printed = ""
    shown = 0
    _, listed = typed.run("datalayer-stripe plugins list")
    for block, out in zip(blocks(), typed.printed, strict=True):
        if block.typed:
            printed = out
        if block.language == "text" and not block.text.startswith(("Fault: ", "top-up-count ")):
            for line in filter(None, block.text.splitlines()):
                assert says(printed, line), f"{line!r} is not in:\n{printed}"
                shown += 1
        if block.text.startswith("top-up-count "):
            assert says(listed, block.text), listed
            shown += 1
    assert shown == 10


def test_a_misspelt_type_is_told_as_the_tutorial_shows(typed: Typed) -> None:
    [shown] = [block.text.strip() for block in blocks() if block.text.startswith("Fault: ")]
    file = typed.folder / "top-up-count" / "src" / "top_up_count" / "plugin.py"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("payment_intent.succeeded", "payment_intent.success"))
    try:
        code, printed = typed.run("datalayer-stripe plugins check .")
    finally:
        file.write_text(text, encoding="utf-8")
    assert code == 1
    assert shown in printed.splitlines()


@asynccontextmanager
async def serving(
    typed: Typed, variables: dict[str, str], bearer: Callable[..., str]
) -> AsyncIterator[Api]:
    """`serve` as a process of the author's environment."""
    command = typed.folder / ".venv" / "bin" / "datalayer-stripe"
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
        api = Api(port, cast("Service", SimpleNamespace()), bearer)  # it is in the process
        yield api
        api.http.close()
    finally:
        process.kill()
        await process.wait()


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_the_built_package_serves_and_counts_once(
    typed: Typed, mongodb_url: str, sandbox: Sandbox, shop: Shop, bearer: Callable[..., str]
) -> None:
    wheel = "dist/top_up_count-0.1.0-py3-none-any.whl"
    code, printed = typed.run(f"pip uninstall --yes top-up-count; pip install --no-deps {wheel}")
    assert code == 0, printed
    _, listed = typed.run("datalayer-stripe plugins list")
    assert says(listed, "top-up-count 100 on - top-up-count 0.1.0")
    code, printed = typed.run("datalayer-stripe plugins check .")  # gives way to what is there
    assert code == 0, printed
    variables = complete(mongodb_url, sandbox, shop)
    body = recorded("payment_intent.succeeded")
    outcomes = []
    for _ in range(2):  # and once more by another process of the service
        async with serving(typed, variables, bearer) as api:
            outcomes += [json_of(await api.deliver(body))["outcome"] for _ in range(2)]
            assert await api.credits() == 50
    assert outcomes == ["processed", "duplicate", "duplicate", "duplicate"]
    with MongoClient[dict[str, Any]](mongodb_url, tz_aware=True) as client:
        database = client.get_default_database()
        counted = {"_id": ACCOUNT, "top_ups": 1, "credits": 50}
        assert list(database["plugin_top-up-count"].find()) == [counted]
        assert database["ledger"].count_documents({}) == 1
