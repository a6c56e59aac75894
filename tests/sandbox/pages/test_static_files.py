"""The replacement of Stripe.js and the other static files."""

import re
from typing import Any

import pytest

from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.pages.static_files import WEB, stripe_js
from tests.sandbox.conftest import Http


@pytest.mark.gen_test
async def test_stripe_js_is_one_script_with_unique_names(sandbox: Sandbox, http: Http) -> None:
    answered = await http("GET", "/sandbox/stripe.js", key=None)
    assert answered.headers["Content-Type"] == "text/javascript; charset=utf-8"
    script = answered.body.decode()
    assert script == stripe_js()
    assert not re.findall(r"^(?:import|export)\b", script, re.MULTILINE)
    pattern = r"^(?:async )?(?:const|let|class|function) (\w+)"
    names = re.findall(pattern, script, re.MULTILINE)
    assert len(names) == len(set(names)) > 20


def test_modules_of_stripe_js_follow_their_imports() -> None:
    script = stripe_js()
    texts = {path.stem: path.read_text(encoding="utf-8") for path in (WEB / "stripe").iterdir()}
    places = {name: script.index(joined_body(text)) for name, text in texts.items()}
    for name, text in texts.items():
        for imported in re.findall(r'^import .+ from "\./(\w+)\.js";$', text, re.MULTILINE):
            assert places[imported] < places[name], (name, imported)


def joined_body(text: str) -> str:
    """Return the part of a module's text that is in the joined script."""
    lines = [line for line in text.splitlines() if not line.startswith("import ")]
    return "\n".join(line.removeprefix("export ") for line in lines).strip()


@pytest.mark.gen_test
async def test_static_files_have_strict_security_policy(sandbox: Sandbox, http: Http) -> None:
    folders = ("elements", "pages", "panel", "stripe")
    paths = [path for folder in folders for path in (WEB / folder).iterdir()]
    for path in [*paths, WEB / "panel"]:
        answered = await http("GET", f"/sandbox/{path.relative_to(WEB)}", key=None)
        assert answered.code == 200, path
        policy = answered.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answered.headers["X-Content-Type-Options"] == "nosniff"
    for path in (
        "templates/base.html",
        "sandbox.py",
        "elements/../../sandbox.py",
        "elements/none.js",
    ):
        assert (await http("GET", f"/sandbox/{path}", key=None)).code == 404


@pytest.mark.parametrize("path", sorted(WEB.rglob("*.html")), ids=lambda path: path.name)
def test_html_has_no_inline_scripts_or_styles(path: Any) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.findall(r"\sstyle=|\son\w+=|<style|<script(?![^>]* src=)", text)
