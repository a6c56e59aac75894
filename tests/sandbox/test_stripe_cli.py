"""The official Stripe CLI triggers events in the sandbox, as docs/operations.md lists them."""

import asyncio
import os
import re
import shlex
from pathlib import Path

import pytest

from datalayer_stripe.billing.metadata import top_up_metadata
from datalayer_stripe.plugin_api.registry import Registry
from datalayer_stripe.sandbox import Sandbox
from tests.sandbox.conftest import Http, Shop, event_types, pay, run_control
from tests.support import stripe_cli

DOCS = Path(__file__).parents[2] / "docs" / "operations.md"

# The argument that names the object of a control.
SUBJECTS = {
    "close_dispute": "dispute_id",
    "delete_price": "price_id",
    "dispute": "payment_intent_id",
    "refund": "payment_intent_id",
    "settle_refund": "refund_id",
}


def rows(heading: str) -> dict[str, list[str]]:
    """Return the code in the second column by the code in the first column of a table."""
    table = re.search(
        rf"^\| {re.escape(heading)} \|.*\n\| ---.*\n((?:\|.*\n)+)", DOCS.read_text(), re.M
    )
    assert table is not None, heading
    found = {}
    for line in table[1].splitlines():
        first, second = line.strip("|").split("|")
        found[first.strip().strip("`")] = re.findall("`([^`]+)`", second)
    return found


TRIGGERS = rows("official trigger")
OTHERS = re.findall(
    "`([^`]+)`", DOCS.read_text().split("Other triggers that work: ")[1].split("\n")[0]
)
CONTROLS = rows("event without a trigger")


@pytest.fixture(scope="module")
def program() -> Path:
    """The Stripe CLI."""
    return stripe_cli.require()


async def run_cli(program: Path, folder: Path, sandbox: Sandbox, *arguments: str) -> str:
    """Run the Stripe CLI against the sandbox and return what it printed."""
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        "--color=off",
        env={
            "HOME": str(folder),
            "HTTPS_PROXY": "http://127.0.0.1:1",  # reaches no other machine
            "PATH": os.environ["PATH"],
            "STRIPE_API_KEY": sandbox.secret_key,
            "STRIPE_CLI_TELEMETRY_OPTOUT": "1",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    return printed.decode()


def test_every_event_of_the_plugins_has_a_trigger_or_a_control() -> None:
    handled = set(Registry.load().types)
    assert handled <= TRIGGERS.keys() | CONTROLS.keys()
    assert not TRIGGERS.keys() & CONTROLS.keys()
    assert CONTROLS.keys() <= handled


@pytest.mark.slow
@pytest.mark.gen_test
async def test_cli_offers_the_documented_triggers(
    program: Path, tmp_path: Path, sandbox: Sandbox
) -> None:
    offered = set(
        re.findall(
            r"^  (\S+)$", await run_cli(program, tmp_path, sandbox, "trigger", "--help"), re.M
        )
    )
    assert {*TRIGGERS, *OTHERS} <= offered
    assert not CONTROLS.keys() & offered


@pytest.mark.slow
@pytest.mark.gen_test
async def test_each_trigger_causes_the_documented_events(
    program: Path, tmp_path: Path, sandbox: Sandbox
) -> None:
    caused = {}
    for trigger in TRIGGERS:
        since = len(sandbox.events)
        arguments = ("trigger", trigger, "--api-base", sandbox.url)
        printed = await run_cli(program, tmp_path, sandbox, *arguments)
        assert "Trigger succeeded" in printed
        caused[trigger] = event_types(sandbox, since)
    assert caused == TRIGGERS


@pytest.mark.slow
@pytest.mark.gen_test
async def test_documented_parameters_connect_a_trigger_with_an_account(
    program: Path, tmp_path: Path, sandbox: Sandbox
) -> None:
    blocks = re.findall("```sh\n(.*?)```", DOCS.read_text(), re.DOTALL)
    (written,) = [block for block in blocks if "--override" in block]
    _, *arguments = shlex.split(written.replace("\\\n", " "))
    for option, value in (("--api-base", sandbox.url), ("--api-key", sandbox.secret_key)):
        arguments[arguments.index(option) + 1] = value
    await run_cli(program, tmp_path, sandbox, *arguments)
    paid = sandbox.events[-1]["data"]["object"]
    metadata = top_up_metadata(account_uid="demo", price_id="price_…", credits=50)
    assert (paid["amount"], paid["metadata"]) == (500, metadata)


@pytest.mark.slow
@pytest.mark.gen_test
async def test_other_triggers_cause_their_event(
    program: Path, tmp_path: Path, sandbox: Sandbox
) -> None:
    features = {"invoice_history": {"enabled": True}}
    sandbox.call("POST", "/v1/billing_portal/configurations", features=features)
    slots = asyncio.Semaphore(4)

    async def run(trigger: str) -> None:
        async with slots:
            arguments = ("trigger", trigger, "--api-base", sandbox.url)
            await run_cli(program, tmp_path, sandbox, *arguments)

    await asyncio.gather(*map(run, OTHERS))
    assert set(OTHERS) <= set(event_types(sandbox))


@pytest.mark.parametrize("event", CONTROLS)
@pytest.mark.gen_test
async def test_controls_cause_the_events_without_a_trigger(
    sandbox: Sandbox, http: Http, shop: Shop, event: str
) -> None:
    subject = shop.price if CONTROLS[event][0] == "delete_price" else pay(sandbox)
    for control in CONTROLS[event]:
        name, *flags = control.split()
        arguments = {flag.removesuffix("=true"): True for flag in flags}
        answer = await run_control(http, name, **{SUBJECTS[name]: subject}, **arguments)
        subject = answer.get("id", "")
    assert event in event_types(sandbox)
