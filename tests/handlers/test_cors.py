"""CORS: which origins may call, and which headers they may send."""

import pytest

from datalayer_stripe.settings import Settings
from tests.support.app import Api
from tests.support.shop import IAM_ROUTES, STRIPE_ROUTES

APP = "https://app.example.com"
LOCAL = "http://localhost:3000"
OTHER = "https://evil.example.com"

ANY = ("*",)
LISTED = (APP, LOCAL)


@pytest.fixture
def settings(settings: Settings, cors_origins: tuple[str, ...]) -> Settings:
    return settings.model_copy(update={"cors_origins": cors_origins})


async def allowed(api: Api, origin: str | None, path: str = f"{IAM_ROUTES}/ping") -> str | None:
    headers = {"Origin": origin} if origin else {}
    answer = await api.request("GET", path, headers=headers)
    found = answer.headers.get("Access-Control-Allow-Origin")
    exposed = answer.headers.get("Access-Control-Expose-Headers")
    assert exposed == ("X-Request-Id, Retry-After" if found else None)
    return found


@pytest.mark.parametrize("cors_origins", [ANY])
@pytest.mark.gen_test
async def test_any_origin_is_allowed_when_none_is_listed(api: Api) -> None:
    assert await allowed(api, OTHER) == "*"
    assert await allowed(api, None) == "*"


@pytest.mark.parametrize("cors_origins", [LISTED])
@pytest.mark.gen_test
async def test_only_listed_origins_are_allowed(api: Api) -> None:
    for origin in LISTED:
        assert await allowed(api, origin) == origin
    for origin in (OTHER, f"{APP}.evil.example.com", "null", APP.replace("https", "http"), None):
        assert await allowed(api, origin) is None
    answer = await api.request("GET", f"{IAM_ROUTES}/ping", headers={"Origin": OTHER})
    assert answer.headers["Vary"] == "Origin", (
        "a cache must not give the response for one origin to another"
    )


@pytest.mark.parametrize("cors_origins", [LISTED])
@pytest.mark.gen_test
async def test_listed_origin_can_read_errors(api: Api) -> None:
    for path in (f"{IAM_ROUTES}/subscription", "/nothing"):
        assert await allowed(api, APP, path) == APP
        assert await allowed(api, OTHER, path) is None


@pytest.mark.parametrize("cors_origins", [ANY, LISTED])
@pytest.mark.gen_test
async def test_preflight_needs_no_token_and_lists_allowed_headers(
    api: Api, cors_origins: tuple[str, ...]
) -> None:
    headers = {
        "Origin": APP,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type, idempotency-key",
    }
    path = f"{STRIPE_ROUTES}/topup/payment-intent"
    answer = await api.request("OPTIONS", path, headers=headers)
    assert (answer.code, answer.body) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == ("*" if cors_origins == ANY else APP)
    names = answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
    assert set(names) == {
        "authorization",
        "cache-control",
        "content-type",
        "idempotency-key",
        "last-event-id",
        "pragma",
        "x-external-token",
        "x-request-id",
    }
    assert answer.headers["Access-Control-Allow-Methods"] == "POST, OPTIONS"
    read = await api.request("OPTIONS", f"{IAM_ROUTES}/plans", headers=headers)
    assert read.headers["Access-Control-Allow-Methods"] == "GET, OPTIONS"


@pytest.mark.parametrize("cors_origins", [LISTED])
@pytest.mark.gen_test
async def test_preflight_of_unlisted_origin_is_not_allowed(api: Api) -> None:
    answer = await api.request("OPTIONS", f"{IAM_ROUTES}/plans", headers={"Origin": OTHER})
    assert "Access-Control-Allow-Origin" not in answer.headers


CREDENTIALS = "Access-Control-Allow-Credentials"


@pytest.mark.parametrize("cors_origins", [LISTED])
@pytest.mark.gen_test
async def test_listed_origin_may_send_credentials_and_read_errors(api: Api) -> None:
    requests = [
        ("GET", f"{IAM_ROUTES}/ping", 200),
        ("GET", f"{IAM_ROUTES}/subscription", 401),
        ("GET", "/nothing", 404),
        ("PUT", f"{IAM_ROUTES}/ping", 405),
        ("OPTIONS", f"{IAM_ROUTES}/plans/cancel", 204),
    ]
    for method, path, status in requests:
        answer = await api.request(method, path, headers={"Origin": APP})
        found = {name: answer.headers.get(name) for name in (CREDENTIALS, "Vary")}
        assert answer.code == status
        assert found == {CREDENTIALS: "true", "Vary": "Origin"}, path
        assert answer.headers["Access-Control-Allow-Origin"] == APP
        other = await api.request(method, path, headers={"Origin": OTHER})
        assert CREDENTIALS not in other.headers


@pytest.mark.parametrize("cors_origins", [ANY])
@pytest.mark.gen_test
async def test_credentials_are_not_allowed_when_any_origin_is_allowed(api: Api) -> None:
    for method, path in (("GET", f"{IAM_ROUTES}/ping"), ("OPTIONS", f"{IAM_ROUTES}/plans")):
        answer = await api.request(method, path, headers={"Origin": OTHER})
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert CREDENTIALS not in answer.headers
