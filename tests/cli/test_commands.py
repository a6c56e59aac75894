"""The declarations of the commands: their help, what they import, and completion."""

import inspect
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from datalayer_stripe import app
from datalayer_stripe.cli.commands.lazy import load
from datalayer_stripe.cli.commands.options import event_types
from datalayer_stripe.cli.main import main
from datalayer_stripe.events import known_types
from tests.support.command import COMMAND

Path = tuple[str, ...]


def all_commands(
    group: click.Group = main, path: Path = ()
) -> Iterator[tuple[Path, click.Command]]:
    yield path, group
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from all_commands(command, (*path, name))
        else:
            yield (*path, name), command


PATHS = [path for path, _ in all_commands()]


def test_help_and_completion_import_nothing_of_the_service() -> None:
    script = f"""if True:
        import sys
        import click
        from click.shell_completion import BashComplete
        from datalayer_stripe.cli.main import main

        for path in {PATHS!r}:
            command, ctx = main, click.Context(main, info_name="datalayer-stripe")
            for name in path:
                command = command.commands[name]
                ctx = click.Context(command, parent=ctx, info_name=name)
            assert command.get_help(ctx)
        complete = BashComplete(main, {{}}, "datalayer-stripe", "_DATALAYER_STRIPE_COMPLETE")
        assert complete.get_completions(["events", "list", "--type"], "invoice.p")
        print(*sys.modules)
    """
    printed = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    modules = set(printed.split())
    slow = {"aiohttp", "asyncio", "motor", "pydantic", "pymongo", "rich", "stripe", "tornado"}
    assert modules & slow == set()
    allowed = ("datalayer_stripe.cli", "datalayer_stripe._version")
    own = {one for one in modules if one.startswith("datalayer_stripe.")}
    assert {one for one in own if not one.startswith(allowed)} == set()


def test_each_command_runs_a_function_with_its_parameters() -> None:
    targets = 0
    for path, command in all_commands():
        target = getattr(command.callback, "target", None)
        if target is None:
            continue
        targets += 1
        given = {one.name for one in command.params}
        if "as_json" in given:
            given = given - {"as_json", "as_csv"} | {"output"}
        assert given == set(inspect.signature(load(target)).parameters), path
    groups_and_completion = 7
    assert targets == len(PATHS) - groups_and_completion


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_help_fits_80_columns_and_cuts_nothing(path: Path) -> None:
    result = CliRunner().invoke(main, [*path, "--help"], terminal_width=78)
    assert result.exit_code == 0
    usage, *lines = result.stdout.splitlines()
    assert usage.startswith("Usage: ")
    assert [line for line in lines if line.endswith("...")] == []
    assert [line for line in lines if len(line) > 80] == []


def test_default_host_of_serve_is_that_of_the_server() -> None:
    (host,) = [one for one in main.commands["serve"].params if one.name == "host"]
    assert host.default == app.DEFAULT_HOST


def test_completed_event_types_are_those_of_the_sdk() -> None:
    assert event_types() == sorted(known_types())


COMPLETIONS = {
    "re": ["reconcile", "report"],
    "webhook ": ["rotate", "sync", "test"],
    "audit --re": ["--repair"],
    "events list --type charge.dispute.f": [
        "charge.dispute.funds_reinstated",
        "charge.dispute.funds_withdrawn",
    ],
    "plugins new x --on payment_intent.suc": ["payment_intent.succeeded"],
    "reconcile --since ": ["36h", "7d", "30d"],
    "serve --log-level w": ["warning"],
    "completion ": ["bash", "zsh", "fish"],
}


def test_bash_completes_commands_options_and_values() -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash, whose completion script this test runs")
    script = """
        eval "$(datalayer-stripe completion bash)"
        name=$(complete -p datalayer-stripe | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        for line in "$@"; do
            IFS=' ' read -ra words <<< "$line"
            [[ $line == *' ' ]] && words+=('')
            COMP_WORDS=(datalayer-stripe "${words[@]}") COMP_CWORD=${#words[@]} COMPREPLY=()
            $name datalayer-stripe
            echo "${COMPREPLY[@]}"
        done
    """
    result = subprocess.run(
        [bash, "-c", script, "bash", *COMPLETIONS],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PATH": f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"},
    )
    completed = [line.split() for line in result.stdout.splitlines()]
    assert dict(zip(COMPLETIONS, completed, strict=True)) == COMPLETIONS
    assert result.stderr == ""


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_script_of_other_shells_calls_the_command(shell: str) -> None:
    script = CliRunner().invoke(main, ["completion", shell]).stdout
    assert f"_DATALAYER_STRIPE_COMPLETE={shell}_complete" in script


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_the_disk_does_not_take_is_one_line(unbuffered: str) -> None:
    environ = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [COMMAND, "--help"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environ,
            check=False,
        )
    message = "The output cannot be written: No space left on device.\n"
    assert (done.returncode, done.stderr) == (2, message)
