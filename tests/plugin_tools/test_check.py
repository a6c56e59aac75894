"""`plugins check`: what it loads, the faults that it finds, and what it reports."""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from datalayer_stripe.cli.main import main
from datalayer_stripe.plugin_api.loading import load_plugins
from datalayer_stripe.testing.recordings import recordings_of
from tests.support.command import environment, run_command

ROOT = Path(__file__).parents[2]

HEAD = "from datalayer_stripe import Context, Event, Plugin, Reject, Retry\n"
COUNTER = """
plugin = Plugin("{name}")

@plugin.on({on})
async def act(event: Event, ctx: Context) -> None:
    {body}
"""
COUNTS = 'ctx.collection.update_one({"_id": 1}, {"$inc": {"n": 1}}, upsert=True)'


@pytest.fixture(autouse=True)
def own_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Remove the modules that a check has imported."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("datalayer_stripe_plugin_files_", "top_up_count", "my_")):
            del sys.modules[name]


def check(path: Path, **variables: str) -> Result:
    return CliRunner(env=variables).invoke(main, ["plugins", "check", str(path)])


def write(path: Path, body: str = COUNTS, name: str = "mine", on: str = '"invoice.paid"') -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEAD + COUNTER.format(name=name, on=on, body=body), encoding="utf-8")
    return path


def new(folder: Path, name: str, *options: str) -> Path:
    arguments = ["plugins", "new", name, *options, "--directory", str(folder)]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    return folder / name


def rows(answer: Result) -> list[list[str]]:
    """Return the cells of the table, without its heading: plugin, event, from, result, seconds."""
    # The last cell is on a line below if it has no room.
    table = re.sub(r"\n +", "  ", answer.stdout.partition("\n\n")[0]).splitlines()
    assert re.split("  +", table[0]) == ["PLUGIN", "EVENT", "RESULT", "SECONDS", "FROM"]
    cells = [re.split("  +", line) for line in table[1:]]
    return [[*one[:2], one[4], *one[2:4]] for one in cells]


def faults(answer: Result) -> list[str]:
    return re.findall(r"^Fault: (.*?)(?=\n\n|\Z)", answer.stdout, re.MULTILINE | re.DOTALL)


def notes(answer: Result) -> list[str]:
    return re.findall(r"^Note: (.*)$", answer.stdout, re.MULTILINE)


# Plugins without a fault


def test_file_is_run_on_recorded_events_of_its_types(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.py", on='"invoice.paid", "payment_intent.succeeded"')
    answer = check(path)
    assert answer.exit_code == 0, answer.output
    assert [row[:4] for row in rows(answer)] == [
        ["mine", "invoice.paid", "datalayer-stripe", "ok"],
        ["mine", "payment_intent.succeeded", "datalayer-stripe", "ok"],
        ["mine", "payment_intent.succeeded", "datalayer-stripe, after-decline", "ok"],
    ]
    assert all(float(row[4]) >= 0 for row in rows(answer))
    assert answer.stdout.endswith("\nNo fault: 1 plugin, 3 events tried.\n")


def test_results_for_programs(tmp_path: Path) -> None:
    path = write(tmp_path / "bad.py", "1 / 0")
    answer = CliRunner().invoke(main, ["plugins", "check", str(path), "--json"])
    assert answer.exit_code == 1
    report = json.loads(answer.stdout)
    [case] = report["cases"]
    assert (case["plugin"], case["event_type"], case["result"]) == (
        "mine",
        "invoice.paid",
        "FAILED",
    )
    assert "ZeroDivisionError" in report["faults"][0]


def test_deferred_function_is_run(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.py", on='"invoice.paid", deferred=True')
    assert check(path).exit_code == 0
    path = write(tmp_path / "bad.py", "1 / 0", on='"invoice.paid", deferred=True')
    [fault] = faults(check(path))
    assert "ZeroDivisionError" in fault


def test_files_of_a_folder_are_checked_and_may_share_code(tmp_path: Path) -> None:
    (tmp_path / "_shared.py").write_text("NUMBER = 7\n", encoding="utf-8")
    body = f"from ._shared import NUMBER\n    {COUNTS}"
    write(tmp_path / "a.py", body, name="a")
    write(tmp_path / "b.py", name="b")
    answer = check(tmp_path)
    assert answer.exit_code == 0, answer.output
    assert [row[0] for row in rows(answer)] == ["a", "b"]


@pytest.mark.faults
def test_built_in_plugins_have_no_fault() -> None:
    answer = check(ROOT / "plugins")
    assert answer.exit_code == 0, answer.output
    built_in = {plugin.name for plugin in load_plugins() if plugin.origin.kind == "built-in"}
    assert {row[0] for row in rows(answer)} == built_in
    # Refunds and disputes are delivered after the payment, so no plugin waits for it.
    assert {row[3] for row in rows(answer)} <= {"ok", "not run"}


# Packages


@pytest.mark.slow
@pytest.mark.gen_test
async def test_package_need_not_be_installed(tmp_path: Path) -> None:
    folder = new(tmp_path, "my-plugin")
    code, out, err = await run_command(
        "plugins", "check", str(folder), variables=environment(PATH="")
    )
    assert (code, err) == (0, "")
    own = r"^my-plugin  payment_intent.succeeded  ok .* payment_intent.succeeded.json$"
    assert re.search(own, out, re.MULTILINE), "without the recorded event that it copies"
    assert out.endswith("No fault: 1 plugin, 2 events tried.\n")


def test_package_may_be_beside_its_pyproject(tmp_path: Path) -> None:
    folder = new(tmp_path, "my-plugin")
    shutil.move(folder / "src" / "my_plugin", folder / "my_plugin")
    (folder / "src").rmdir()
    assert check(folder).exit_code == 0


def test_placeholder_event_is_noted(tmp_path: Path) -> None:
    folder = new(tmp_path, "my-plugin", "--on", "terminal.reader.action_failed")
    answer = check(folder)
    assert answer.exit_code == 0
    [note] = notes(answer)
    assert note.startswith(str(folder / "tests/events/terminal.reader.action_failed.json"))
    assert "is a placeholder. Replace it with an event from Stripe" in note


def test_package_without_plugin_is_refused_with_advice(tmp_path: Path) -> None:
    (tmp_path / "setup.py").write_text("raise SystemExit(9)\n", encoding="utf-8")
    answer = check(tmp_path)
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert '[project.entry-points."datalayer_stripe.plugins"]' in answer.stderr


def test_package_whose_module_is_another_package_is_refused(tmp_path: Path) -> None:
    folder = new(tmp_path, "my-plugin")
    file = folder / "pyproject.toml"
    text = file.read_text(encoding="utf-8")
    other_package = "datalayer_stripe_plugins.invoice_paid:plugin"
    file.write_text(text.replace("my_plugin.plugin:plugin", other_package), encoding="utf-8")
    answer = check(folder)
    assert answer.exit_code == 2
    assert f"{other_package} is not in {folder / 'src'}: Python finds" in answer.stderr


def test_package_with_missing_dependency_is_refused_with_advice(tmp_path: Path) -> None:
    folder = new(tmp_path, "my-plugin")
    file = folder / "src/my_plugin/plugin.py"
    file.write_text("import no_such_module_at_all\n", encoding="utf-8")
    answer = check(folder)
    assert answer.exit_code == 2
    assert "no_such_module_at_all" in answer.stderr
    assert f"pip install --editable {folder}" in answer.stderr


# Plugins that cannot be loaded


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 / 0\n", "cannot be loaded: ZeroDivisionError"),
        ("x = 1\n", "has no plugin: create a datalayer_stripe.Plugin"),
        (HEAD + 'plugin = Plugin("invoice-paid")\n', "Two plugins are named 'invoice-paid'"),
        (HEAD + 'plugin = Plugin("No Name")\n', "lower-case letters"),
    ],
)
def test_plugin_that_would_stop_the_start_ends_with_exit_code_2(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text, encoding="utf-8")
    answer = check(path)
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert message in answer.stderr
    assert str(path) in answer.stderr


def test_folder_without_plugin_is_refused(tmp_path: Path) -> None:
    answer = check(tmp_path)
    assert answer.exit_code == 2
    assert f"{tmp_path} has no plugin" in answer.stderr
    assert check(tmp_path / "nowhere").exit_code == 2


def test_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    answer = check(write(tmp_path / "mine.py"))
    assert answer.exit_code == 2
    assert 'pip install "datalayer-stripe[testing]"' in answer.stderr


# Faults


def test_misspelt_type_is_a_fault_with_a_suggestion(tmp_path: Path) -> None:
    answer = check(write(tmp_path / "mine.py", on='"invoice.payed", "invoice.paid"'))
    assert answer.exit_code == 1
    assert faults(answer) == [
        "mine: Stripe has no event type invoice.payed. Did you mean invoice.paid?"
    ]
    assert rows(answer)[0] == ["mine", "invoice.payed", "-", "not run", "-"]
    assert rows(answer)[1][3] == "ok"
    assert answer.stdout.endswith("\n1 plugin, 1 fault.\n")


def test_plugin_without_event_type_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(HEAD + 'plugin = Plugin("mine")\n', encoding="utf-8")
    assert faults(check(path)) == ["mine: it runs on no event type. Use @plugin.on(…)."]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("event.object['nothing']", "KeyError: 'nothing'"),
        ("return 7", "it returned int, and a plugin returns nothing"),
        ("ctx.collection.insert_one({'_id': SEEN.append(1) or len(SEEN)})", "plugin_mine: 1"),
    ],
)
def test_failing_plugin_is_a_fault_with_its_error(tmp_path: Path, body: str, message: str) -> None:
    path = write(tmp_path / "mine.py", body)
    path.write_text("SEEN = []\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    answer = check(path)
    assert answer.exit_code == 1
    assert rows(answer)[0][3] == "FAILED"
    [fault] = faults(answer)
    assert fault.startswith("mine on invoice.paid, from datalayer-stripe:\n")
    assert message in fault
    assert answer.stderr == ""


def test_traceback_has_only_frames_of_the_author(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.py", "event.object['nothing']")
    [fault] = faults(check(path))
    assert f'File "{path}", line 7, in act' in fault
    assert fault.count("File ") == 1


def test_secrets_are_removed_from_the_error(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.py", "raise ValueError('sk_test_' + 'example' * 2)")
    [fault] = faults(check(path))
    assert "ValueError: [redacted]" in fault
    assert "exampleexample" not in fault


def test_plugin_that_blocks_the_event_loop_is_a_fault(tmp_path: Path) -> None:
    body = "__import__('time').sleep(0.11)"
    [fault] = faults(check(write(tmp_path / "mine.py", body)))
    assert fault.startswith("mine on invoice.paid: it blocks the event loop for 0.1 s at once")
    body = "await __import__('asyncio').sleep(0.11)"
    assert check(write(tmp_path / "mine.py", body)).exit_code == 0


@pytest.mark.parametrize("deferred", ["", ", deferred=True"])
@pytest.mark.parametrize(
    ("body", "result", "message"),
    [
        ("raise Reject('no such account')", "rejected", "it rejects the event: no such account."),
        (
            "raise Retry('not paid yet')",
            "waits",
            "it waits: not paid yet. Write a test that first delivers the event that it waits for.",
        ),
    ],
)
def test_rejected_or_retried_event_is_noted(
    tmp_path: Path, body: str, result: str, message: str, deferred: str
) -> None:
    answer = check(write(tmp_path / "mine.py", body, on=f'"invoice.paid"{deferred}'))
    assert answer.exit_code == 0
    assert rows(answer)[0][3] == result
    assert notes(answer) == [f"mine on invoice.paid, from datalayer-stripe: {message}"]


def test_plugin_that_retries_only_some_runs_is_a_fault(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.py", "SEEN.append(1)\n    if len(SEEN) > 1: raise Retry('later')")
    path.write_text("SEEN = []\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    answer = check(path)
    assert answer.exit_code == 1
    assert "later" in faults(answer)[0]


# Settings

SETTINGS = """
from pydantic import BaseModel, Field

class Mail(BaseModel):
    host: str = Field(description="The mail server's name.")
    port: int = 587

plugin = Plugin("mine", settings=Mail)

@plugin.on("invoice.paid")
async def act(event: Event, ctx: Context[Mail]) -> None:
    ctx.collection.insert_one({"_id": event.id, "host": ctx.settings.host})
"""


def test_settings_are_read_from_environment_and_missing_ones_are_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(HEAD + SETTINGS, encoding="utf-8")
    answer = check(path)
    assert answer.exit_code == 1
    assert rows(answer)[0][3:] == ["not run", "-"]
    assert faults(answer) == [
        "DATALAYER_STRIPE_PLUGIN_MINE_HOST: is missing or blank. "
        "It is a setting of the plugin mine: The mail server's name."
    ]
    assert check(path, DATALAYER_STRIPE_PLUGIN_MINE_HOST="mail.example.com").exit_code == 0


# The author's events


def save(folder: Path, name: str, event: object) -> Path:
    path = folder / "tests" / "events" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(event), encoding="utf-8")
    return path


def test_own_events_are_used_beside_recorded_events(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.py", on='"invoice.paid", "payout.paid"')
    payout = {**recordings_of("invoice.paid")["invoice.paid"], "id": "evt_1", "type": "payout.paid"}
    answer = check(path)
    assert notes(answer) == [
        "mine on payout.paid: there is no recorded event of this type. "
        "Save one of your own as tests/events/payout.paid.json to run the plugin on it."
    ]
    save(tmp_path, "payout.json", payout)
    answer = check(path)
    assert (answer.exit_code, notes(answer)) == (0, [])
    assert [row[1:4] for row in rows(answer)] == [
        ["invoice.paid", "datalayer-stripe", "ok"],
        ["payout.paid", "payout.json", "ok"],
    ]


def test_invalid_event_file_is_a_fault_and_event_of_another_type_is_a_note(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.py")
    wrong = save(tmp_path, "wrong.json", {"id": "in_1", "object": "invoice"})
    other = save(tmp_path, "z.json", recordings_of("charge.refunded")["charge.refunded"])
    answer = check(path)
    assert answer.exit_code == 1
    [fault] = faults(answer)
    assert fault.startswith(f"{wrong} is not a Stripe event")
    assert notes(answer) == [
        f"{other} has the type charge.refunded, on which none of the plugins runs."
    ]
