"""Run the command `datalayer-stripe` in a process with its own environment."""

import asyncio
import multiprocessing
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from datalayer_stripe.sandbox import Sandbox
from tests.support import command_process
from tests.support.app import JWT_SECRET, WEBHOOK_SECRET
from tests.support.database import DRIVER
from tests.support.shop import Shop

COMMAND = Path(sys.executable).with_name("datalayer-stripe")


def environment(**variables: str) -> dict[str, str]:
    """Return an environment in which only the given DATALAYER variables are set."""
    ours = {name: value for name, value in os.environ.items() if "DATALAYER" not in name}
    return {**ours, **variables}


def complete(mongodb_url: str, sandbox: Sandbox, shop: Shop) -> dict[str, str]:
    """Return an environment in which all variables are set."""
    return environment(
        DATALAYER_STRIPE_API_KEY=sandbox.secret_key,
        DATALAYER_STRIPE_JS_API_KEY=sandbox.publishable_key,
        DATALAYER_STRIPE_TOPUP_PRODUCT_ID=shop.topup_product,
        DATALAYER_STRIPE_SUBSCRIPTION_PRODUCT_ID=f"{shop.plan_product},prod_other",
        DATALAYER_STRIPE_WEBHOOK_SECRET=f"whsec_rolledRolledRolledRolled00,{WEBHOOK_SECRET}",
        DATALAYER_STRIPE_CHECKOUT_ROUTE="checkout",
        DATALAYER_STRIPE_CUST_PORTAL_ID="bpc_tests",
        DATALAYER_STRIPE_CUST_PORTAL_URL="https://billing.example.com/p/login/test",
        DATALAYER_STRIPE_MONGODB_URL=mongodb_url,
        DATALAYER_STRIPE_MONGODB_DRIVER=DRIVER,
        DATALAYER_STRIPE_API_BASE=sandbox.url,
        DATALAYER_JWT_SECRET=JWT_SECRET,
        DATALAYER_JWT_ALGORITHM="HS256",
        DATALAYER_JWT_ISSUER="https://id.datalayer.run",
        DATALAYER_JWT_ALLOWED_ISSUERS="https://id.datalayer.run,https://id.example.com",
        DATALAYER_CORS_ORIGIN="https://app.example.com",
    )


# The processes are forks of one that has imported the commands, because the import takes a second.
_FORKS = multiprocessing.get_context("forkserver")
_COMMANDS = "customers doctor events operations plugins setup token webhook"
_FORKS.set_forkserver_preload([f"datalayer_stripe.cli.{one}" for one in _COMMANDS.split()])


async def run_command(
    *arguments: str, variables: dict[str, str] | None = None
) -> tuple[int | None, str, str]:
    """Run the command, and return its exit code, stdout and stderr."""
    env = environment() if variables is None else variables
    with TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        process = _FORKS.Process(
            target=command_process.run, args=(arguments, env, str(out), str(err))
        )
        process.start()
        try:
            await asyncio.to_thread(process.join)
        finally:
            process.kill()
        output = await asyncio.to_thread(lambda: (out.read_text("utf-8"), err.read_text("utf-8")))
    return process.exitcode, *output
