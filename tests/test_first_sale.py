"""The guide to the first sale: its commands, run in front of an empty local Stripe."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from datalayer_stripe.sandbox import Sandbox
from tests.support.app import Api, json_of
from tests.support.command import COMMAND, environment
from tests.support.ports import free_port
from tests.support.serving import serve
from tests.support.shop import IAM_ROUTES, STRIPE_ROUTES, objects
from tests.test_docs import DOCUMENTS, README, blocks

GUIDE = DOCUMENTS["docs/first-sale.md"]
DATABASE_URL = "mongodb://127.0.0.1:27017/datalayer_stripe?replicaSet=rs0"
PUBLIC_URL = "https://shop.example.com"

# What differs from one account and machine to another.
_IDS = (
    (r"acct_\w+", "acct_…"),
    (r"http://127\.0\.0\.1:\d+", PUBLIC_URL),
    (r"API version \S+", "API version …"),
)


def command(start: str) -> str:
    """Return the commands of the guide that begin with these words."""
    [found] = [one for one in blocks(GUIDE, "sh") if one.startswith(start)]
    return found


class Terminal:
    """A shell in an empty folder, with `datalayer-stripe` on its path."""

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.folder = folder
        # A question would ask for the keys; nothing says where Stripe is but the last variable.
        self.variables = environment(
            DATALAYER_STRIPE_API_KEY=sandbox.secret_key,
            DATALAYER_STRIPE_JS_API_KEY=sandbox.publishable_key,
            DATALAYER_STRIPE_API_BASE=sandbox.url,
        )
        self.variables["PATH"] = f"{COMMAND.parent}:{self.variables['PATH']}"

    async def run(self, lines: str, *, typed: str = "", known: bool = True) -> str:
        """Run commands, and return what they print.

        Args:
            lines: The commands.
            typed: What is typed.
            known: Whether the keys are known from the environment.
        """
        names = ("PATH", "HOME")
        bash = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", lines),
            cwd=self.folder,
            env=self.variables if known else {name: self.variables[name] for name in names},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await bash.communicate(typed.encode())
        assert bash.returncode == 0, out.decode() + err.decode()
        return out.decode()


def generic(text: str) -> str:
    """Return the output without the values that differ."""
    for pattern, word in _IDS:
        text = re.sub(pattern, word, text)
    return re.sub(r"[ \n]+", " ", text)


def test_readme_and_guide_show_the_same_commands() -> None:
    [setup] = [one for one in blocks(README, "sh") if "datalayer-stripe setup" in one]
    assert command("datalayer-stripe setup") in setup
    for start in ("mkdir -p data", 'echo "DATALAYER_STRIPE_MONGODB_URL'):
        assert command(start) in blocks(README, "sh")


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_guide_leads_from_an_empty_account_to_the_first_sale(
    tmp_path: Path, sandbox: Sandbox, mongodb_url: str, bearer: Callable[..., str]
) -> None:
    terminal, port = Terminal(tmp_path, sandbox), free_port()
    address = f"http://127.0.0.1:{port}"
    printed = await terminal.run(
        command("datalayer-stripe setup").replace(PUBLIC_URL, address), typed="y\n"
    )
    shown = generic(next(one for one in blocks(GUIDE, "text")))
    assert shown in generic(printed.replace(f"{tmp_path}/", ""))

    await terminal.run(
        command('echo "DATALAYER_STRIPE_MONGODB_URL').replace(DATABASE_URL, mongodb_url),
        known=False,
    )
    sourced, _ = command("set -a; . ./datalayer-stripe.env; set +a\ndatalayer-stripe serve").split(
        "\n", 1
    )
    lines = await terminal.run(f"{sourced}\nenv -0", known=False)
    variables = dict(line.split("=", 1) for line in lines.split("\0") if line)
    token = await terminal.run(command(f"{sourced}\ndatalayer-stripe token"), known=False)

    async with serve(variables, bearer, "--port", str(port)) as serving:
        assert (await serving.api.request("GET", "/readyz")).code == 200
        plan, package = (
            objects(sandbox, "/v1/prices", lookup_keys=[f"datalayer-stripe-{key}"])[0]["id"]
            for key in ("monthly", "credits-50")
        )
        await buy(serving.api, token.strip(), sandbox, "subscription", plan)
        await buy(serving.api, token.strip(), sandbox, "topup", package)
        headers = {"Authorization": f"Bearer {token.strip()}"}
        answer = await serving.api.request("GET", f"{IAM_ROUTES}/usage/credits", headers=headers)
        assert json_of(answer)["credits"]["credits"] == 50

        checks = await terminal.run(f"{sourced}\n{command('datalayer-stripe doctor')}", known=False)
        assert "0 errors, 0 warnings, " in checks
        assert "0 not run" in checks


async def buy(api: Api, token: str, sandbox: Sandbox, what: str, price_id: str) -> None:
    """Subscribe or buy credits, pay, and wait until the events have been delivered."""
    answer = await api.post(
        f"{STRIPE_ROUTES}/{what}/payment-intent",
        {"price_id": price_id},
        account=None,
        headers={"Authorization": f"Bearer {token}"},
    )
    assert answer.code == 201, answer.body
    sandbox.confirm_payment(json_of(answer)["client_secret"])
    await sandbox.webhooks.settle()
