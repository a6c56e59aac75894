"""Test the live service by its own description: https://schemathesis.readthedocs.io.

schemathesis sends requests that match the description and requests that do not, in four phases,
and checks each answer: status, media type, headers, schema, and authentication.
"""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from tests.support.app import ACCOUNT, ADMIN_ROLE
from tests.support.shop import STRIPE_ROUTES, Buyer

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "tests" / "support" / "schemathesis.toml"


@pytest.mark.slow
@pytest.mark.usefixtures("unlimited")  # otherwise most answers would be 429
@pytest.mark.gen_test
async def test_schemathesis_finds_nothing(buyer: Buyer, webhooks: Webhooks) -> None:
    await buyer.subscribe()
    await buyer.buy()
    user = {"uid": ACCOUNT, "roles": [ADMIN_ROLE]}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli"),
        *("--config-file", str(CONFIGURATION), "run"),
        f"{buyer.api.url}{STRIPE_ROUTES}/openapi.json",
        cwd=ROOT,
        env={
            **os.environ,
            "SCHEMATHESIS_TOKEN": buyer.api.bearer(ACCOUNT, user=user),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    report, _ = await process.communicate()
    print(report.decode())
    assert process.returncode == 0
