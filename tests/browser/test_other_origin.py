"""Requests with credentials from a page of another origin, as Datalayer's UI sends them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.browser.demo_server import Town
from tests.browser.visitor import Visitor

# What the client sends with each GET.
ASK = """
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


def test_named_origin_reads_answers_and_others_do_not(
    new_visitor: Callable[..., Visitor], town: Town, tmp_path: Path
) -> None:
    (tmp_path / "index.html").write_text("<!doctype html><title>A UI</title>", encoding="utf-8")
    named, other = town.serve(tmp_path), town.serve(tmp_path)
    service = town.another_service(cors_origins=(named,))
    visitor = new_visitor(url=service)
    visitor.watch.allow("blocked by CORS policy", "Failed to load resource", r"status of 40[14]")

    def ask(origin: str, path: str, token: str) -> Any:
        page = visitor.context.new_page()
        page.goto(f"{origin}/index.html")
        return page.evaluate(ASK, {"url": service + path, "token": token})

    credits = "/api/iam/v1/usage/credits"
    assert ask(named, credits, town.token())["fields"]["credits"]["credits"] == 0
    assert ask(named, credits, "wrong")["fields"]["code"] == "unauthorized"
    assert ask(named, "/api/iam/v1/nothing", town.token())["status"] == 404
    assert "refused" in ask(other, credits, town.token())
    # Any origin may call the demo's own service, but none with credentials.
    page = visitor.context.new_page()
    page.goto(f"{other}/index.html")
    answer = page.evaluate(ASK, {"url": town.url + credits, "token": town.token()})
    assert "refused" in answer
