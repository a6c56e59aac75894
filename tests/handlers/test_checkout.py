"""The checkout page: its route, headers, configuration and files."""

import re
from typing import Any

import pytest
from tornado.httpclient import HTTPResponse
from tornado.web import Application

from datalayer_stripe.app import make_app
from datalayer_stripe.handlers.checkout import WEB_FOLDER
from datalayer_stripe.service import Service
from datalayer_stripe.settings import Settings
from datalayer_stripe.settings_checks import STRIPE_JS_URL
from tests.support.app import Api, json_of


@pytest.fixture
def changes() -> dict[str, Any]:
    return {}


@pytest.fixture
def settings(settings: Settings, changes: dict[str, Any]) -> Settings:
    return settings.model_copy(update=changes)


@pytest.fixture
def app(service: Service) -> Application:
    return make_app(service)


async def page(api: Api, path: str = "/checkout") -> HTTPResponse:
    return await api.get(path, None)


def policy(answer: HTTPResponse) -> dict[str, list[str]]:
    directives = answer.headers["Content-Security-Policy"].split("; ")
    return {words[0]: words[1:] for words in (directive.split(" ") for directive in directives)}


@pytest.mark.gen_test
async def test_page_contains_public_configuration_and_no_secret(api: Api) -> None:
    answer = await page(api)
    assert answer.code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=UTF-8"
    text = answer.body.decode()
    assert 'data-publishable-key="pk_test_tests"' in text
    assert f'data-stripe-js="{STRIPE_JS_URL}"' in text
    assert 'data-iam-api="/api/iam/v1"' in text
    assert 'data-stripe-api="/api/iam/stripe/v1"' in text
    assert "sk_test" not in text
    assert "whsec" not in text


@pytest.mark.gen_test
async def test_policy_allows_only_own_files_and_stripe(api: Api) -> None:
    answer = await page(api)
    assert policy(answer) == {
        "default-src": ["'none'"],
        "script-src": ["'self'", "https://js.stripe.com", "https://*.js.stripe.com"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'", "https://api.stripe.com"],
        "frame-src": [
            "https://js.stripe.com",
            "https://*.js.stripe.com",
            "https://hooks.stripe.com",
        ],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "frame-ancestors": ["'self'"],
    }
    assert answer.headers["Referrer-Policy"] == "strict-origin"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert answer.headers["Cache-Control"] == "no-store"


def test_page_files_contain_no_inline_script_or_style() -> None:
    text = (WEB_FOLDER / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|javascript:", text)
    for path in WEB_FOLDER.glob("*.js"):
        source = path.read_text(encoding="utf-8")
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|eval\(|document\.write", source
        )


@pytest.mark.parametrize("changes", [{"stripe_js_url": "http://127.0.0.1:12111/sandbox/stripe.js"}])
@pytest.mark.gen_test
async def test_policy_allows_configured_stripe_js_instead_of_stripe(api: Api) -> None:
    answer = await page(api)
    directives = policy(answer)
    for name in ("script-src", "connect-src", "frame-src"):
        assert set(directives[name]) - {"'self'"} == {"http://127.0.0.1:12111"}
    assert "stripe.com" not in answer.headers["Content-Security-Policy"]


@pytest.mark.gen_test
async def test_every_file_of_page_is_served_and_used(api: Api) -> None:
    text = (await page(api)).body.decode()
    queue = re.findall(r'(?:href|src)="(/checkout/[^"]+)"', text)
    assert len(queue) >= 3
    seen: set[str] = set()
    while queue:
        path = queue.pop()
        seen.add(path)
        answer = await page(api, path)
        assert answer.code == 200, path
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Server" not in answer.headers
        if path.endswith(".js"):
            assert answer.headers["Content-Type"] in {"text/javascript", "application/javascript"}
            imported = re.findall(r'from "\./([\w-]+\.js)"', answer.body.decode())
            queue += {f"/checkout/{name}" for name in imported} - seen
        again = await api.request("GET", path, headers={"If-None-Match": answer.headers["Etag"]})
        assert (again.code, again.body) == (304, b"")
    served = {path.rpartition("/")[2] for path in seen}
    files = {path.name for path in WEB_FOLDER.iterdir() if path.is_file()}
    assert served == files - {"index.html"}, "a file of the page is not used"


@pytest.mark.parametrize(
    "path",
    [
        "/checkout/",
        "/checkout/index.html",
        "/checkout/../app.py",
        "/checkout/%2e%2e/app.py",
        "/checkout/..%2fapp.py",
        "/checkout/none.js",
        "/checkout/a/b.js",
        "/web/app.js",
    ],
)
@pytest.mark.gen_test
async def test_other_files_are_not_served(api: Api, path: str) -> None:
    assert (await page(api, path)).code == 404


@pytest.mark.gen_test
async def test_range_beyond_the_end_of_a_file_is_refused_in_json(api: Api) -> None:
    answer = await api.request("GET", "/checkout/app.js", headers={"Range": "bytes=99999999-"})
    size = (WEB_FOLDER / "app.js").stat().st_size
    assert (answer.code, json_of(answer)["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["Content-Type"] == "application/json; charset=UTF-8"
    assert answer.headers["Content-Range"] == f"bytes */{size}"


@pytest.mark.parametrize("changes", [{"stripe_checkout_route": "/billing/check-out.now/"}])
@pytest.mark.gen_test
async def test_page_is_served_at_configured_route(api: Api) -> None:
    text = (await page(api, "/billing/check-out.now")).body.decode()
    assert 'src="/billing/check-out.now/app.js"' in text
    assert (await page(api, "/billing/check-out.now/app.js")).code == 200
    assert (await page(api, "/billing/check-outxnow")).code == 404
    assert (await page(api)).code == 404
    exposition = (await page(api, "/metrics")).body.decode()
    assert 'route="/billing/check-out.now"' in exposition


@pytest.mark.parametrize("changes", [{"stripe_checkout_route": "https://app.example.com/checkout"}])
@pytest.mark.gen_test
async def test_page_is_not_served_when_route_is_url_of_another_site(api: Api) -> None:
    assert (await page(api)).code == 404


@pytest.mark.parametrize(
    "changes",
    [
        {
            "stripe_sign_in_url": 'https://app.example.com/?a="><script>&b',
        }
    ],
)
@pytest.mark.gen_test
async def test_configuration_in_page_is_escaped(api: Api) -> None:
    text = (await page(api)).body.decode()
    assert "<script>" not in text
    assert "&quot;&gt;&lt;script&gt;&amp;b" in text
