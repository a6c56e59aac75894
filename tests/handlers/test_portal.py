"""The billing portal: a session for customers, the public link for others, safe return URLs."""

from typing import Any

import pytest
from tornado.httpclient import HTTPResponse

from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.settings import Settings
from tests.support.app import Api, json_of
from tests.support.shop import IAM_ROUTES, Buyer, calls, objects, subscribe_elsewhere

RETURN_URL = "https://app.example.com/settings?tab=billing#plan"
PUBLIC_LINK = "https://billing.example.com/p/login/test"


@pytest.fixture
def cors_origins() -> tuple[str, ...]:
    return ("*",)


@pytest.fixture
def configuration(sandbox: Sandbox) -> str:
    """Create the portal configuration that the settings name, and return its id."""
    features = {"invoice_history": {"enabled": True}}
    created = sandbox.call("POST", "/v1/billing_portal/configurations", features=features)
    return str(sandbox.put({**created, "id": "bpc_example"})["id"])


@pytest.fixture
def settings(settings: Settings, cors_origins: tuple[str, ...]) -> Settings:
    return settings.model_copy(update={"cors_origins": cors_origins})


async def open_portal(api: Api, return_url: Any = RETURN_URL) -> HTTPResponse:
    return await api.post(f"{IAM_ROUTES}/checkout/portal", {"return_url": return_url})


async def portal_url(api: Api) -> str:
    answer = await open_portal(api)
    assert answer.code == 200
    return str(json_of(answer)["portal"]["url"])


@pytest.mark.gen_test
async def test_customer_gets_portal_session(
    buyer: Buyer, sandbox: Sandbox, configuration: str
) -> None:
    await buyer.ask_to_subscribe()
    first, second = await portal_url(buyer.api), await portal_url(buyer.api)
    assert first != second
    portal_session = sandbox.get(first.rpartition("/")[2])
    [customer] = objects(sandbox, "/v1/customers")
    assert portal_session["customer"] == customer["id"]
    assert portal_session["configuration"] == configuration
    assert portal_session["return_url"] == RETURN_URL


@pytest.mark.gen_test
async def test_account_without_customer_gets_public_portal_link(
    buyer: Buyer, stranger: Buyer, sandbox: Sandbox, configuration: str
) -> None:
    await stranger.ask_to_subscribe()
    assert await portal_url(buyer.api) == PUBLIC_LINK
    assert calls(sandbox, "POST", "/v1/billing_portal/sessions") == 0


@pytest.mark.gen_test
async def test_customer_of_another_system_gets_portal_session(
    buyer: Buyer, webhooks: Webhooks, configuration: str
) -> None:
    subscribe_elsewhere(buyer.sandbox, buyer.shop.plan)
    await webhooks.settle()
    assert (await portal_url(buyer.api)).startswith(buyer.sandbox.url)


@pytest.mark.gen_test
async def test_unknown_portal_configuration_falls_back_to_public_link(
    buyer: Buyer, caplog: pytest.LogCaptureFixture
) -> None:
    await buyer.ask_to_subscribe()
    assert await portal_url(buyer.api) == PUBLIC_LINK
    assert "DATALAYER_STRIPE_CUST_PORTAL_ID" in caplog.text


@pytest.mark.parametrize(
    "return_url",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "/settings",
        "settings",
        "//evil.example.com/",
        "https:///settings",
        "https://",
        "ftp://app.example.com/",
        "https://user@app.example.com/",
        "https://user:password@app.example.com/",
        "https://app.example.com\\@evil.example.com/",
        "https://evil.example.com\\.app.example.com/",
        "https://app.example.com/a b",
        "https://app.example.com/\r\nSet-Cookie: a=b",
        "https://app.example.com/\u00e9",
        " https://app.example.com/",
        "https://[::1",
        "https://app.example.com/" + "x" * 2048,
        "",
        None,
        7,
        ["https://app.example.com/"],
    ],
)
@pytest.mark.gen_test
async def test_invalid_return_url_is_refused(
    buyer: Buyer, sandbox: Sandbox, configuration: str, return_url: Any
) -> None:
    await buyer.ask_to_subscribe()
    answer = await open_portal(buyer.api, return_url)
    assert (answer.code, json_of(answer)["code"]) == (400, "invalid_request")
    assert "`return_url`" in json_of(answer)["message"]
    assert "password" not in json_of(answer)["message"].replace("name or password", "")
    assert calls(sandbox, "POST", "/v1/billing_portal/sessions") == 0


@pytest.mark.parametrize("cors_origins", [("https://app.example.com", "http://localhost:3000")])
@pytest.mark.parametrize(
    ("return_url", "status"),
    [
        ("https://app.example.com", 200),
        ("HTTPS://App.Example.com/settings", 200),
        ("http://localhost:3000/", 200),
        ("https://evil.example.com/", 400),
        ("https://app.example.com.evil.example.com/", 400),
        ("http://app.example.com/", 400),
        ("http://localhost:3001/", 400),
    ],
)
@pytest.mark.gen_test
async def test_return_url_must_have_a_listed_origin(api: Api, return_url: str, status: int) -> None:
    assert (await open_portal(api, return_url)).code == status


@pytest.mark.parametrize("cors_origins", [("https://app.example.com",)])
@pytest.mark.gen_test
async def test_return_url_may_be_local_checkout_page(api: Api) -> None:
    assert (await open_portal(api, f"{api.url}/checkout")).code == 200
    assert (await open_portal(api, f"{api.url.replace('http', 'https')}/checkout")).code == 200
    assert (await open_portal(api, f"{api.url}0/checkout")).code == 400


@pytest.mark.parametrize("cors_origins", [("https://app.example.com",)])
@pytest.mark.parametrize("host", ["evil.example.com", "EVIL.example.com:443", "127.0.0.1.evil.com"])
@pytest.mark.gen_test
async def test_host_header_does_not_allow_a_return_url(api: Api, host: str) -> None:
    for scheme in ("http", "https"):
        fields = {"return_url": f"{scheme}://{host}/back"}
        path = f"{IAM_ROUTES}/checkout/portal"
        answer = await api.post(path, fields, headers={"Host": host})
        assert (answer.code, json_of(answer)["code"]) == (400, "invalid_request")
        assert "DATALAYER_CORS_ORIGIN" in json_of(answer)["message"]


@pytest.mark.parametrize("url", ["https://user:S3cret\u2100@x/", "http://[::S3cret]/"])
@pytest.mark.gen_test
async def test_refused_return_url_is_not_in_response_or_log(
    api: Api, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    answer = await open_portal(api, url)
    assert answer.code == 400
    assert b"S3cret" not in answer.body
    assert "S3cret" not in caplog.text
