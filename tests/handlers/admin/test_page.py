"""The operator's page: its route, headers, files, and advice."""

import re
from typing import Any

import pytest
from pydantic import SecretStr
from tornado.httpclient import HTTPResponse
from tornado.web import Application

from datalayer_stripe.app import make_app
from datalayer_stripe.handlers.pages import WEB_FOLDER
from datalayer_stripe.handlers.urls import ADMIN_PREFIX
from datalayer_stripe.service import Service
from datalayer_stripe.settings import Settings
from tests.support.app import Api
from tests.test_docs import OPERATIONS, table

FOLDER = WEB_FOLDER / "admin"
FILES = f"{ADMIN_PREFIX}/files"


@pytest.fixture
def changes() -> dict[str, Any]:
    return {}


@pytest.fixture
def settings(settings: Settings, changes: dict[str, Any]) -> Settings:
    return settings.model_copy(update=changes)


@pytest.fixture
def app(service: Service) -> Application:
    return make_app(service)


async def get(api: Api, path: str = ADMIN_PREFIX) -> HTTPResponse:
    return await api.get(path, None)


@pytest.mark.gen_test
async def test_page_contains_mode_and_no_role_or_secret(api: Api, settings: Settings) -> None:
    answer = await get(api)
    assert answer.headers["Content-Type"] == "text/html; charset=UTF-8"
    text = answer.body.decode()
    assert 'data-mode="test"' in text
    assert f'data-admin-api="{ADMIN_PREFIX}"' in text
    assert settings.stripe_admin_role
    for private in (settings.stripe_admin_role, "sk_test", "pk_test", "whsec"):
        assert private not in text


@pytest.mark.parametrize("changes", [{"stripe_api_key": SecretStr("sk_live_example")}])
@pytest.mark.gen_test
async def test_page_of_live_mode_says_so(api: Api) -> None:
    assert 'data-mode="live"' in (await get(api)).body.decode()


@pytest.mark.gen_test
async def test_policy_allows_only_own_files_and_requests(api: Api) -> None:
    answer = await get(api)
    directives = answer.headers["Content-Security-Policy"].split("; ")
    assert sorted(directives) == [
        "base-uri 'none'",
        "connect-src 'self'",
        "default-src 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "img-src 'self'",
        "require-trusted-types-for 'script'",
        "script-src 'self'",
        "style-src 'self'",
        "trusted-types 'none'",
    ]
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"


def test_page_files_contain_no_inline_script_and_insert_no_html() -> None:
    text = (FOLDER / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|javascript:", text)
    for path in FOLDER.glob("*.js"):
        source = path.read_text(encoding="utf-8")
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|eval\(|document\.write|https?://", source
        ), path.name


@pytest.mark.gen_test
async def test_every_file_of_page_is_served_preloaded_and_used(api: Api) -> None:
    text = (await get(api)).body.decode()
    linked = set(re.findall(rf'(?:href|src)="{FILES}/([^"]+)"', text))
    queue, seen = list(linked), set[str]()
    while queue:
        name = queue.pop()
        seen.add(name)
        answer = await get(api, f"{FILES}/{name}")
        assert answer.code == 200, name
        assert answer.headers["Cache-Control"] == "no-cache"
        if name.endswith(".js"):
            source = answer.body.decode()
            imported = re.findall(r'(?:from|import\() ?"([./\w-]+\.js)"', source)
            queue += {resolve(name, one) for one in imported} - seen
    library = {"admin/vendor/chart.umd.min.js"}
    assert seen - linked == library, "the page preloads all its modules, but not the library"
    own = {f"admin/{path.name}" for path in FOLDER.iterdir() if path.is_file()}
    assert {name for name in seen if name.startswith("admin/")} - library == own - {
        "admin/index.html"
    }


def resolve(module: str, imported: str) -> str:
    """Return the path of an imported module, as a browser resolves it."""
    folder = module.rpartition("/")[0]
    while imported.startswith("../"):
        imported, folder = imported.removeprefix("../"), folder.rpartition("/")[0]
    return f"{folder}/{imported.removeprefix('./')}".removeprefix("/")


@pytest.mark.parametrize(
    "path",
    [
        "/index.html",
        "/admin/index.html",
        "/admin/vendor/chart.LICENSE.md",
        "/../handlers/admin/page.py",
        "/admin/../../app.py",
        "/admin/%2e%2e/%2e%2e/app.py",
        "/admin/..js",
        "/none.js",
    ],
)
@pytest.mark.gen_test
async def test_other_files_are_not_served(api: Api, path: str) -> None:
    assert (await get(api, f"{FILES}{path}")).code == 404


@pytest.mark.parametrize("changes", [{"stripe_admin_role": None}])
@pytest.mark.gen_test
async def test_page_does_not_exist_without_setting(api: Api) -> None:
    for path in (ADMIN_PREFIX, f"{FILES}/admin/app.js", f"{FILES}/dom.js"):
        assert (await get(api, path)).code == 404


def test_page_advises_on_every_documented_reason_of_a_rejection() -> None:
    source = (FOLDER / "advice.js").read_text(encoding="utf-8")
    patterns = re.findall(r"^    /(.+)/,$", source, re.MULTILINE)
    rows = table(OPERATIONS.partition("### Rejected events")[2], "reason")
    reasons = [one for row in rows for one in re.findall(r"`([^`]+)`", row["reason"])]
    assert len(reasons) > 8
    for reason in reasons:
        assert any(re.search(pattern, reason) for pattern in patterns), reason
    for pattern in patterns:
        assert any(re.search(pattern, reason) for reason in reasons), pattern
