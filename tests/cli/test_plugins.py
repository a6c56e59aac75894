"""The command `plugins list`, and starting `serve` and `demo` with wrong plugins."""

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from datalayer_stripe import Event
from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.service import Service
from datalayer_stripe.store import UnitOfWork
from datalayer_stripe.store.job_marks import Deferral, JobFailed
from tests.support.app import Api, changed, recorded
from tests.support.command import complete, environment, run_command
from tests.support.shop import Buyer

FILE = """
from datalayer_stripe import Context, Event, Plugin

plugin = Plugin("mailer", order=7)

@plugin.on("charge.succeeded", deferred=True)
@plugin.on("charge.refunded")
async def mail(event: Event, ctx: Context) -> None: ...
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mailer.py").write_text(FILE, encoding="utf-8")
    return tmp_path


def row(out: str, name: str) -> list[str]:
    """Return the cells of a plugin's row."""
    [line] = [one for one in out.splitlines() if one.startswith(f"{name} ")]
    return re.split(r"  +", line)


@pytest.mark.gen_test
async def test_list_shows_all_plugins_without_environment_variables() -> None:
    code, out, err = await run_command("plugins", "list")
    assert (code, err) == (0, "")
    assert out.splitlines()[1].startswith("top-up-credits "), "plugins that move money run first"
    _, *rest, origin = row(out, "top-up-credits")
    assert origin.startswith("built-in 0.")
    assert rest == ["0", "on, moves money", "-"]
    assert out.splitlines()[2] == "    payment_intent.succeeded"
    assert max(len(line) for line in out.splitlines()) <= 100
    assert "FAILED: set the environment of `serve`" in out
    assert re.findall(r"^  (\S+)$", out, re.MULTILINE) == list(Registry.load().types)


@pytest.mark.gen_test
async def test_list_shows_plugin_files_and_disabled_plugins(folder: Path) -> None:
    variables = environment(
        DATALAYER_STRIPE_PLUGINS_DIR=str(folder),
        DATALAYER_STRIPE_PLUGINS_DISABLED="top-up-credits, catalog-changed",
    )
    code, out, _ = await run_command("plugins", "list", variables=variables)
    assert code == 0
    path = str(folder / "mailer.py")
    assert row(out, "mailer")[:4] == ["mailer", "7", "on", "-"]
    assert path in out
    assert "\n    charge.refunded, charge.succeeded (deferred)\n" in out
    assert row(out, "top-up-credits")[2] == "off, moves money"
    assert row(out, "catalog-changed")[2] == "off"
    assert "WARNING: The plugin top-up-credits moves money and is disabled" in out
    types = re.findall(r"^  (\S+)$", out, re.MULTILINE)
    assert "charge.refunded" in types
    code, out, _ = await run_command("plugins", "list", "--json", variables=variables)
    [mailer] = [one for one in json.loads(out)["plugins"] if one["name"] == "mailer"]
    assert (code, mailer["on"], mailer["deferred"]) == (0, True, ["charge.succeeded"])
    assert not {"payment_intent.succeeded", "price.created"} & set(types)


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_list_counts_the_failures_of_the_last_day(
    api: Api, buyer: Buyer, mongodb_url: str
) -> None:
    for number in range(3):
        bad = changed(recorded("payment_intent.succeeded"), id=f"evt_{number}", amount_received=1)
        assert (await api.deliver(bad)).code == 200
    variables = complete(mongodb_url, buyer.sandbox, buyer.shop)
    code, out, _ = await run_command("plugins", "list", variables=variables)
    assert code == 0
    assert row(out, "top-up-credits")[3] == "3"
    assert row(out, "invoice-paid")[3] == "0"
    assert "FAILED:" not in out


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_replay_makes_a_deferred_job_due_now_without_running_it(
    service: Service, buyer: Buyer, mongodb_url: str, folder: Path
) -> None:
    body = json.loads(recorded("charge.refunded"))
    event = Event.model_validate({**body, "id": "evt_1", "type": "charge.succeeded"})
    now = service.clock()
    await service.store.commit(UnitOfWork(), Deferral(event, "mailer", now))
    job = await service.store.jobs.take("mailer", now, timedelta(seconds=80))
    assert job is not None
    failed = JobFailed(event, "mailer", now, job, "not yet", now + timedelta(hours=1))
    await service.store.commit(UnitOfWork(), failed)
    variables = {
        **complete(mongodb_url, buyer.sandbox, buyer.shop),
        "DATALAYER_STRIPE_PLUGINS_DIR": str(folder),
    }
    _, out, _ = await run_command("events", "list", "--failed", variables=variables)
    assert "mailer: deferred" in out
    code, out, _ = await run_command("events", "replay", "evt_1", variables=variables)
    assert (code, out) == (0, "evt_1 → deferred\n")
    due = await service.store.jobs.take("mailer", service.clock(), timedelta(seconds=80))
    assert due is not None
    _, out, _ = await run_command("plugins", "list", variables=variables)
    assert row(out, "mailer")[3] == "1"


@pytest.mark.gen_test
async def test_list_shows_a_hint_if_the_database_is_unreachable(buyer: Buyer) -> None:
    url = "mongodb://u:hunter2@127.0.0.1:9/?serverSelectionTimeoutMS=100"
    variables = complete(url, buyer.sandbox, buyer.shop)
    code, out, err = await run_command("plugins", "list", variables=variables)
    assert code == 0
    assert row(out, "top-up-credits")[3] == "-"
    assert "FAILED: DATALAYER_STRIPE_MONGODB_URL: the database cannot be used" in out
    assert "hunter2" not in out + err


@pytest.mark.parametrize("command", [["plugins", "list"], ["serve", "--port", "0"], ["demo"]])
@pytest.mark.gen_test
async def test_command_exits_with_code_2_if_a_plugin_cannot_be_loaded(
    folder: Path, command: list[str], buyer: Buyer
) -> None:
    (folder / "wrong.py").write_text("1 / 0\n", encoding="utf-8")
    variables = {
        **complete("memory://", buyer.sandbox, buyer.shop),
        "DATALAYER_STRIPE_PLUGINS_DIR": str(folder),
    }
    code, _, err = await run_command(*command, variables=variables)
    assert code == 2
    assert f"Plugin file {folder / 'wrong.py'} cannot be loaded: ZeroDivisionError" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("command", [["plugins", "list"], ["serve", "--port", "0"], ["demo"]])
@pytest.mark.gen_test
async def test_command_exits_with_code_2_if_a_disabled_plugin_is_unknown(
    command: list[str], buyer: Buyer
) -> None:
    variables = {
        **complete("memory://", buyer.sandbox, buyer.shop),
        "DATALAYER_STRIPE_PLUGINS_DISABLED": "invoice-payed",
    }
    code, _, err = await run_command(*command, variables=variables)
    assert code == 2
    assert err.splitlines()[-1] == (
        "DATALAYER_STRIPE_PLUGINS_DISABLED: there is no plugin invoice-payed. "
        "Did you mean invoice-paid? `datalayer-stripe plugins list` shows all names."
    )
