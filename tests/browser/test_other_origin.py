"""Test requests with credentials from another origin, as Datalayer's UI sends them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.browser_session import BrowserSession
from tests.browser.demo_server import DemoServer

# Sends the headers that the client sends with each GET.
FETCH = """
async ({ url, token }) => {
  try {
    const answer = await fetch(url, {
      credentials: "include",
      headers: {
        Authorization: `Bearer ${token}`,
        "Cache-Control": "no-store, no-cache, must-revalidate",
        Pragma: "no-cache",
        "X-External-Token": "external",
      },
    });
    return { status: answer.status, fields: await answer.json() };
  } catch (error) {
    return { refused: String(error) };
  }
}
"""


@pytest.mark.usefixtures("own_demo")
def test_only_allowed_origin_reads_responses(
    new_session: Callable[..., BrowserSession], demo_server: DemoServer, tmp_path: Path
) -> None:
    (tmp_path / "index.html").write_text("<!doctype html><title>A UI</title>", encoding="utf-8")
    allowed, other = demo_server.serve(tmp_path), demo_server.serve(tmp_path)
    service = demo_server.another_service(cors_origins=(allowed,))
    session = new_session(url=service)
    session.monitor.allow("blocked by CORS policy", "Failed to load resource", r"status of 40[14]")

    def fetch(origin: str, path: str, token: str) -> Any:
        page = session.context.new_page()
        page.goto(f"{origin}/index.html")
        return page.evaluate(FETCH, {"url": service + path, "token": token})

    credits = "/api/iam/v1/usage/credits"
    assert fetch(allowed, credits, demo_server.token())["fields"]["credits"]["credits"] == 0
    assert fetch(allowed, credits, "wrong")["fields"]["code"] == "unauthorized"
    assert fetch(allowed, "/api/iam/v1/nothing", demo_server.token())["status"] == 404
    assert "refused" in fetch(other, credits, demo_server.token())
    # The demo's own service allows any origin, but not with credentials.
    page = session.context.new_page()
    page.goto(f"{other}/index.html")
    answer = page.evaluate(FETCH, {"url": demo_server.url + credits, "token": demo_server.token()})
    assert "refused" in answer
