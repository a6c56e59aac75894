"""The commands `customers import` and `customers sync`, run in a process on a real database."""

import json
from pathlib import Path

import pytest

from datalayer_stripe.cli.customer_report import CustomerReport
from datalayer_stripe.provisioning.customer_links import CustomerResult, Outcome
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.service import Service
from tests.support.command import complete, run_command
from tests.support.shop import Shop, objects

pytestmark = pytest.mark.mongod


@pytest.fixture
def variables(mongodb_url: str, sandbox: Sandbox, shop: Shop) -> dict[str, str]:
    return complete(mongodb_url, sandbox, shop)


@pytest.mark.gen_test
async def test_import_links_the_lines_of_a_file_and_reports_the_others(
    sandbox: Sandbox, service: Service, variables: dict[str, str], tmp_path: Path
) -> None:
    customers = [sandbox.create_customer()["id"] for _ in range(2)]
    file = tmp_path / "customers.csv"
    file.write_text(
        f"account_uid,customer_id\nalice,{customers[0]}\nbob,{customers[1]}\nbad line\n"
        "carol,cus_unknown\n",
        encoding="utf-8-sig",
    )
    import_file = ("customers", "import", str(file))

    code, out, err = await run_command(*import_file, "--dry-run", variables=variables)
    assert (code, err) == (1, ""), "no progress line without a terminal"
    assert "Would link 2 customers; 0 accounts had one; 2 not done." in out
    assert await service.store.customers.get("alice") is None

    code, out, _ = await run_command(*import_file, variables=variables)
    assert code == 1
    assert out.splitlines() == [
        "LINE  ACCOUNT  CUSTOMER     NOT DONE",
        "4     -        -            account_uid is not the uid of an account",
        "5     carol    cus_unknown  Stripe has no such customer in test mode",
        "Linked 2 customers; 0 accounts had one; 2 not done.",
    ]
    assert await service.store.customers.get("alice") == customers[0]

    code, out, _ = await run_command(*import_file, "--json", variables=variables)
    report = json.loads(out)
    assert (code, report["added"], report["already"]) == (1, [], 2)
    assert [one["line"] for one in report["refused"]] == [4, 5]
    assert report["complete"] is True


@pytest.mark.gen_test
async def test_import_from_metadata(
    sandbox: Sandbox, service: Service, variables: dict[str, str]
) -> None:
    customer = sandbox.create_customer(metadata={"user": "alice"})["id"]
    sandbox.create_customer(email="alice@example.com")
    code, out, _ = await run_command(
        "customers", "import", "--from-metadata", "user", variables=variables
    )
    assert (code, out) == (0, "Linked 1 customer; 0 accounts had one.\n")
    assert await service.store.customers.get("alice") == customer


@pytest.mark.gen_test
async def test_import_needs_a_file_or_a_metadata_key_and_the_right_header(
    variables: dict[str, str], tmp_path: Path
) -> None:
    code, _, err = await run_command("customers", "import", variables=variables)
    assert (code, "Use either FILE or --from-metadata KEY." in err) == (2, True)
    file = tmp_path / "customers.csv"
    file.write_text("alice,cus_1\n")
    code, out, err = await run_command("customers", "import", str(file), variables=variables)
    assert (code, out) == (2, "")
    assert "Line 1 must be the header account_uid,customer_id" in err


@pytest.mark.gen_test
async def test_sync_creates_customers_of_a_file_and_of_known_accounts(
    sandbox: Sandbox, service: Service, variables: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "accounts.txt"
    file.write_text("alice,alice@example.com,Alice\nbob\n")
    sync = ("customers", "sync", "--accounts", str(file))
    code, out, _ = await run_command(*sync, "--dry-run", variables=variables)
    assert (code, out) == (0, "Would create 2 customers; 0 accounts had one.\n")
    assert objects(sandbox, "/v1/customers") == []

    code, out, _ = await run_command(*sync, variables=variables)
    assert (code, out) == (0, "Created 2 customers; 0 accounts had one.\n")
    made = {one["metadata"]["account_uid"]: one for one in objects(sandbox, "/v1/customers")}
    assert made.keys() == {"alice", "bob"}
    assert (made["alice"]["email"], made["alice"]["name"]) == ("alice@example.com", "Alice")
    assert made["bob"]["email"] is None

    await service.store.accounts.describe("carol", handle=None, email=None)
    code, out, _ = await run_command("customers", "sync", variables=variables)
    assert (code, out) == (0, "Created 1 customer; 2 accounts had one.\n")
    assert await service.store.customers.get("carol") is not None


@pytest.mark.gen_test
async def test_interrupted_command_says_what_was_done_and_to_run_it_again(
    sandbox: Sandbox, variables: dict[str, str], tmp_path: Path
) -> None:
    lines = [f"account-{n},{sandbox.create_customer()['id']}" for n in range(10)]
    file = tmp_path / "customers.csv"
    file.write_text("\n".join(["account_uid,customer_id", *lines]))
    last = lines[-1].partition(",")[2]
    sandbox.api.refuse(status=500, times=1000, path_prefix=f"/v1/customers/{last}")
    code, out, err = await run_command("customers", "import", str(file), variables=variables)
    assert code == 2
    assert "The command ended early. Run it again: it does what is left." in out
    assert "https://status.stripe.com" in err
    sandbox.api.normal()
    code, out, _ = await run_command("customers", "import", str(file), variables=variables)
    assert code == 0
    assert "accounts had one." in out


def test_progress_on_a_terminal_shows_the_part_of_the_accounts_that_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")

    def shown(*results: CustomerResult) -> str:
        report = CustomerReport([])
        with report.progress:
            report.count_customers(100)
            report.count_customers(20)
            if results:
                report.expect(4)
            for result in results:
                report.add(result)
        return capsys.readouterr().err

    assert "120 customers read …" in shown()
    assert "25% 1 account checked …" in shown(CustomerResult(Outcome.ADDED, "alice", "cus_1"))
    both = [CustomerResult(Outcome.ALREADY, "alice"), CustomerResult(Outcome.ALREADY, "bob")]
    assert "50% 2 accounts checked …" in shown(*both)
