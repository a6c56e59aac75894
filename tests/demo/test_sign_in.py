"""The demo's front door: a browser that comes in is signed in, and nobody else gets the token."""

import json
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPResponse
from tornado.ioloop import IOLoop

from datalayer_stripe.demo.environment import ACCOUNT, DemoEnvironment, open_environment


@pytest.fixture
def stage(io_loop: IOLoop) -> Iterator[DemoEnvironment]:
    stack = AsyncExitStack()
    opening = open_environment(port=0, sandbox_port=0)
    yield io_loop.run_sync(lambda: stack.enter_async_context(opening))
    io_loop.run_sync(stack.aclose)


async def get(stage: DemoEnvironment, path: str, **headers: str) -> HTTPResponse:
    http = AsyncHTTPClient(force_instance=True)
    try:
        return await http.fetch(stage.url + path, headers=headers, raise_error=False)
    finally:
        http.close()


@pytest.mark.gen_test
async def test_it_signs_in_and_leads_to_the_page(stage: DemoEnvironment) -> None:
    page = await get(stage, "/")
    assert '<script type="module" src="/demo/sign-in.js">' in page.body.decode()
    assert "@datalayer/iam:token" in (await get(stage, "/demo/sign-in.js")).body.decode()
    signed_in = json.loads((await get(stage, "/demo/sign-in")).body)
    assert signed_in == {"token": stage.token, "checkout": "/checkout"}
    bearer = {"Authorization": f"Bearer {signed_in['token']}"}
    answer = await get(stage, "/api/iam/v1/subscription", **bearer)
    assert json.loads(answer.body)["account_uid"] == ACCOUNT
    assert (await get(stage, signed_in["checkout"])).code == 200


@pytest.mark.gen_test
async def test_the_token_is_for_no_other_page(stage: DemoEnvironment) -> None:
    answer = await get(stage, "/demo/sign-in", Origin="https://evil.example.com")
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"
    # A stranger's name that leads to this machine.
    assert (await get(stage, "/demo/sign-in", Host="evil.example.com")).code == 404
    for path in ("/", "/demo/sign-in.js"):
        assert stage.token not in (await get(stage, path)).body.decode()
