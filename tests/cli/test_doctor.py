"""The command `doctor`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tornado.testing import bind_unused_port

from datalayer_stripe.doctor.report import CHECKS
from datalayer_stripe.provisioning.env_file import EnvFile
from datalayer_stripe.sandbox import Sandbox
from tests.support.app import json_of
from tests.support.command import complete, environment, run_command
from tests.support.serving import serve
from tests.support.shop import Shop


@pytest.mark.gen_test
async def test_doctor_without_settings_reports_all_of_them_and_exits_with_2() -> None:
    code, out, err = await run_command("doctor")
    assert (code, err) == (2, "")
    lines = out.splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[0] == "error    settings.variables"
    assert sum("is missing or blank" in line for line in lines) == 8
    assert "DATALAYER_STRIPE_API_KEY: is missing" in out
    assert "DATALAYER_JWT_SECRET: is missing" in out
    for check in CHECKS:
        assert any(check.name in line for line in lines), check.name
    assert lines[-1].startswith("8 errors, 1 warning, ")
    code, out, _ = await run_command("doctor", "--csv")
    header, first, *_ = out.splitlines()
    assert (code, header) == (2, "check,status,text,advice")
    assert first.startswith("settings.variables,error,")


@pytest.mark.gen_test
async def test_one_missing_setting_does_not_prevent_the_checks_of_others(
    sandbox: Sandbox, shop: Shop
) -> None:
    variables = complete("memory://", sandbox, shop)
    secret = variables.pop("DATALAYER_STRIPE_WEBHOOK_SECRET")
    code, out, _ = await run_command("doctor", "--json", variables=variables)
    assert code == 2
    assert secret not in out
    found = {one["check"]: one for one in json.loads(out)["findings"]}
    assert found["settings.variables"]["status"] == "error"
    assert found["catalog.products"]["status"] == "ok"
    assert found["key.permissions"]["status"] == "ok"
    assert found["portal.configuration"]["status"] == "error", "the shop has no such configuration"
    wrong = {**variables, "DATALAYER_STRIPE_API_KEY": "nonsense"}
    _, out, _ = await run_command("doctor", "--json", variables=wrong)
    found = {one["check"]: one for one in json.loads(out)["findings"]}
    assert found["key.reachable"]["status"] == "not run", "Stripe is sent no key of an example"
    assert found["catalog.products"]["status"] == "not run"


@pytest.mark.gen_test
async def test_doctor_checks_stripe_and_exits_with_the_severity(
    sandbox: Sandbox, shop: Shop
) -> None:
    variables = {**complete("memory://", sandbox, shop), "DATALAYER_STRIPE_WEBHOOKSECRET": "x"}
    code, out, err = await run_command("doctor", "--json", variables=variables)
    assert (code, err) == (2, "")
    answer = json.loads(out)
    found = {one["check"]: one for one in answer["findings"]}
    assert found["key.accepted"]["status"] == "ok"
    assert found["catalog.packages"]["status"] == "ok"
    assert found["portal.configuration"]["status"] == "error"
    assert found["endpoint.exists"]["status"] == "error"
    assert found["settings.database-kept"]["status"] == "warning"
    assert "DATALAYER_STRIPE_WEBHOOK_SECRET?" in found["settings.names"]["text"]
    database = found["database.connection"]
    assert (database["status"], database["text"]) == (
        "not run",
        "memory:// is in the memory of the service's own process",
    )
    assert sum(answer["counts"].values()) == len(answer["findings"])


@pytest.mark.gen_test
async def test_doctor_reports_wrong_plugins_beside_wrong_settings(tmp_path: Path) -> None:
    folder = tmp_path / "plugins"
    folder.mkdir(mode=0o700)
    (folder / "broken.py").write_text("1 / 0\n", encoding="utf-8")
    variables = environment(DATALAYER_STRIPE_PLUGINS_DIR=str(folder))
    code, out, _ = await run_command("doctor", "--json", variables=variables)
    assert code == 2
    errors = {one["check"] for one in json.loads(out)["findings"] if one["status"] == "error"}
    assert errors == {"settings.variables", "plugins.load"}


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_doctor_reads_the_database_of_the_service(
    mongodb_url: str, sandbox: Sandbox, shop: Shop
) -> None:
    variables = complete(mongodb_url, sandbox, shop)
    _, out, err = await run_command("doctor", "--json", variables=variables)
    assert err == ""
    found = {one["check"]: one["status"] for one in json.loads(out)["findings"]}
    assert found["database.connection"] == found["database.majority"] == "ok"
    assert found["events.rejected"] == found["events.failed"] == "ok"
    assert found["events.reconciliation"] == "not run"


@pytest.mark.gen_test
async def test_doctor_shows_no_secret(sandbox: Sandbox, shop: Shop) -> None:
    variables = complete(
        "mongodb://u:hunter2@127.0.0.1:9/?serverSelectionTimeoutMS=100", sandbox, shop
    )
    _, out, err = await run_command("doctor", variables=variables)
    for secret in (sandbox.secret_key, "hunter2", variables["DATALAYER_JWT_SECRET"], "whsec_"):
        assert secret not in out + err


# With the environment file that `setup` has written, and a running service


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_account_that_setup_has_set_up_has_no_problem(
    tmp_path: Path, mongodb_url: str, sandbox: Sandbox, bearer: Callable[..., str]
) -> None:
    socket, port = bind_unused_port()
    socket.close()
    path = tmp_path / "shop.env"
    keys = environment(
        DATALAYER_STRIPE_API_KEY=sandbox.secret_key,
        DATALAYER_STRIPE_JS_API_KEY=sandbox.publishable_key,
        DATALAYER_STRIPE_API_BASE=sandbox.url,
    )
    offers = ("--package", "5.00:50", "--package", "20.00:220", "--plan", "29.00")
    address = f"http://127.0.0.1:{port}"
    code, out, err = await run_command(
        *("setup", *offers, "--url", address, "--env-file", str(path), "--yes"), variables=keys
    )
    assert code == 0, out + err
    with path.open("a", encoding="utf-8") as file:
        file.write(f"DATALAYER_STRIPE_MONGODB_URL='{mongodb_url}'\n")

    variables = environment(**dict(EnvFile.read(path)))
    async with serve(variables, bearer, "--port", str(port)) as serving:
        await serving.line("doctor: no problem found")
        assert json_of(await serving.api.get("/readyz", account=None))["warnings"] == {}
        code, out, err = await run_command(
            *("doctor", "--env-file", str(path), "--url", address, "--json"),
            variables=environment(),
        )
    assert (code, err) == (0, ""), out
    found = {one["check"]: one["status"] for one in json.loads(out)["findings"]}
    assert set(found) == {check.name for check in CHECKS}
    assert {name for name, status in found.items() if status != "ok"} == {"events.audit"}


@pytest.mark.mongod
@pytest.mark.slow
@pytest.mark.gen_test
async def test_serve_logs_findings_once_and_all_processes_show_them(
    mongodb_url: str,
    sandbox: Sandbox,
    shop: Shop,
    bearer: Callable[..., str],
) -> None:
    variables = complete(mongodb_url, sandbox, shop)
    async with serve(variables, bearer, "--processes", "2") as serving:
        line = await serving.line("doctor: Stripe does not have bpc_tests.")
        assert line["level"] == "ERROR"
        assert line["check"] == "portal.configuration"
        assert "DATALAYER_STRIPE_CUST_PORTAL_ID" in line["advice"]
        assert line["process_number"] == 1
        in_a_row = 0
        while in_a_row < 40:  # each connection is answered by any of the processes
            answer = await serving.api.get("/readyz", account=None)
            assert answer.code == 200, "findings do not make a process unready"
            is_shown = "portal.configuration" in json_of(answer)["warnings"]
            in_a_row = in_a_row + 1 if is_shown else 0
        assert [one.get("check") for one in serving.lines].count("portal.configuration") == 1
