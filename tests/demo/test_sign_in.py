"""Test that the demo signs in a browser on this machine, and serves the token to nobody else."""

import json
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.ioloop import IOLoop

from datalayer_stripe.demo.environment import ACCOUNT, DemoEnvironment, open_environment
from datalayer_stripe.handlers.urls import ADMIN_PREFIX


@pytest.fixture
def environment(io_loop: IOLoop) -> Iterator[DemoEnvironment]:
    stack = AsyncExitStack()
    opening = open_environment(port=0, sandbox_port=0)
    yield io_loop.run_sync(lambda: stack.enter_async_context(opening))
    io_loop.run_sync(stack.aclose)


async def get(environment: DemoEnvironment, path: str, **headers: str) -> HTTPResponse:
    http = AsyncHTTPClient(force_instance=True)
    try:
        return await http.fetch(environment.url + path, headers=headers, raise_error=False)
    finally:
        http.close()


@pytest.mark.gen_test
async def test_root_signs_in_and_redirects_to_checkout_page(environment: DemoEnvironment) -> None:
    page = await get(environment, "/")
    assert '<script type="module" src="/demo/sign-in.js">' in page.body.decode()
    assert "@datalayer/iam:token" in (await get(environment, "/demo/sign-in.js")).body.decode()
    signed_in = json.loads((await get(environment, "/demo/sign-in")).body)
    assert signed_in == {
        "token": environment.token,
        "pages": {"/": "/checkout", "/operator": ADMIN_PREFIX},
    }
    bearer = {"Authorization": f"Bearer {signed_in['token']}"}
    answer = await get(environment, "/api/iam/v1/subscription", **bearer)
    assert json.loads(answer.body)["account_uid"] == ACCOUNT
    assert (await get(environment, signed_in["pages"]["/"])).code == 200


@pytest.mark.gen_test
async def test_operator_address_signs_in_and_redirects_to_operators_page(
    environment: DemoEnvironment,
) -> None:
    page = await get(environment, "/operator")
    assert '<script type="module" src="/demo/sign-in.js">' in page.body.decode()
    assert (await get(environment, ADMIN_PREFIX)).code == 200
    bearer = {"Authorization": f"Bearer {environment.token}"}
    assert (await get(environment, f"{ADMIN_PREFIX}/overview", **bearer)).code == 200


@pytest.mark.gen_test
async def test_token_is_readable_only_from_own_origin(environment: DemoEnvironment) -> None:
    answer = await get(environment, "/demo/sign-in", Origin="https://evil.example.com")
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"
    # A foreign domain that resolves to this machine.
    assert (await get(environment, "/demo/sign-in", Host="evil.example.com")).code == 404
    for path in ("/", "/demo/sign-in.js"):
        assert environment.token not in (await get(environment, path)).body.decode()
