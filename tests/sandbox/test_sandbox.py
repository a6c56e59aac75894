"""The sandbox object, and the sandbox as a process."""

import asyncio
import re
import sys

import pytest
import stripe

from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.__main__ import main
from tests.sandbox.conftest import SECRET, Http, Receiver, Shop, run_control


def test_sandboxes_have_different_random_keys() -> None:
    first, second = Sandbox(seed=1), Sandbox(seed=1)
    assert re.fullmatch(r"sk_test_[0-9a-zA-Z]{24,}", first.secret_key)
    assert re.fullmatch(r"pk_test_[0-9a-zA-Z]{24,}", first.publishable_key)
    assert first.secret_key != second.secret_key
    assert first.publishable_key != second.publishable_key


@pytest.mark.gen_test
async def test_stored_object_is_isolated_from_caller(
    sandbox: Sandbox, client: stripe.StripeClient, shop: Shop
) -> None:
    with pytest.raises(KeyError):
        sandbox.get("prod_none")
    product = {**sandbox.get(shop.product), "id": "prod_recorded", "name": "Recorded"}
    sandbox.put(product)
    product["name"] = "changed afterwards"
    assert (await client.v1.products.retrieve_async("prod_recorded")).name == "Recorded"
    sandbox.get("prod_recorded")["name"] = "changed outside"
    assert sandbox.get("prod_recorded")["name"] == "Recorded"


@pytest.mark.gen_test
async def test_sandboxes_are_independent(sandbox: Sandbox) -> None:
    other = Sandbox(secret_key="sk_test_other")
    await other.start()
    sandbox.create_customer()
    assert other.events == []
    assert other.url != sandbox.url
    await other.stop()


def test_port_out_of_range_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["sandbox", "--port", "65536"])
    with pytest.raises(SystemExit):
        main()
    assert "--port must be from 0 to 65535" in capsys.readouterr().err


@pytest.mark.gen_test
async def test_process_says_that_its_port_is_in_use(receiver: Receiver) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "datalayer_stripe.sandbox", "--port", receiver.url.split(":")[2].split("/")[0]),
        stderr=asyncio.subprocess.PIPE,
    )
    _, error = await process.communicate()
    assert process.returncode == 1
    [line] = error.decode().splitlines()
    assert line.startswith("Cannot listen on 127.0.0.1:")
    assert line.endswith("Choose another --port or --address.")


@pytest.mark.gen_test
async def test_sandbox_runs_as_process(receiver: Receiver) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "datalayer_stripe.sandbox",
        "--webhook",
        receiver.url,
        "--secret",
        SECRET,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    url, secret_key, publishable_key = [
        (await process.stdout.readline()).decode().split()[-1] for _ in range(3)
    ]
    assert publishable_key.startswith("pk_test_")
    transport = stripe.AIOHTTPClient()
    client = stripe.StripeClient(secret_key, base_addresses={"api": url}, http_client=transport)
    await client.v1.customers.create_async({"name": "x"})
    http = Http(url, secret_key)
    await run_control(http, "webhooks/settle")
    http.close()
    await transport.close_async()
    assert receiver.types == ["customer.created"]
    process.terminate()
    await process.communicate()
    assert process.returncode == 0
