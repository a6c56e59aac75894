"""Errors of clients: status, code, the name of the wrong field, and one JSON format."""

from typing import Any

import pytest

from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import ACCOUNT, Api, json_of
from tests.support.shop import IAM_ROUTES, STRIPE_ROUTES, Buyer, kept

TOPUP = f"{STRIPE_ROUTES}/topup/payment-intent"
ADMIN = f"{STRIPE_ROUTES}/admin"
SUBSCRIBE = f"{STRIPE_ROUTES}/subscription/payment-intent"
PORTAL = f"{IAM_ROUTES}/checkout/portal"
DETAILS = f"{IAM_ROUTES}/plans/accounts/details"

WITH_BODY = {
    TOPUP: ("price_id", [None, 7, ["price_1"], {}, True, "", "x" * 256]),
    SUBSCRIBE: ("price_id", [None, 7, ["price_1"], {}, True, "", "x" * 256]),
    PORTAL: ("return_url", [None, 7, [], "", "/settings"]),
    DETAILS: ("account_uids", [None, ACCOUNT, 7, [7], [""], [ACCOUNT] * 1001]),
}
BAD_FIELDS = [(path, name, value) for path, (name, values) in WITH_BODY.items() for value in values]


def assert_refused(answer: Any, status: int, code: str) -> str:
    """Check the status, code and format of an error, and return its message."""
    body = json_of(answer)
    assert (answer.code, body["code"]) == (status, code)
    assert set(body) == {"success", "code", "message", "request_id"}
    assert body["success"] is False
    assert body["request_id"] == answer.headers["X-Request-Id"]
    assert answer.headers["Content-Type"] == "application/json; charset=UTF-8"
    assert body["message"]
    return str(body["message"])


@pytest.mark.parametrize(("path", "name", "value"), BAD_FIELDS)
@pytest.mark.gen_test
async def test_error_names_field_of_wrong_type(
    api: Api, service: Service, path: str, name: str, value: Any
) -> None:
    message = assert_refused(await api.post(path, {name: value}), 400, "invalid_request")
    assert f"`{name}" in message
    assert await kept(service) == {}


@pytest.mark.parametrize("path", WITH_BODY)
@pytest.mark.gen_test
async def test_error_names_missing_field(api: Api, path: str) -> None:
    message = assert_refused(await api.post(path, {}), 400, "invalid_request")
    assert f"`{WITH_BODY[path][0]}`" in message


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"text"', b"\xff", b"price_id=1"])
@pytest.mark.gen_test
async def test_body_that_is_not_a_json_object_is_refused(api: Api, body: bytes) -> None:
    headers = {
        "Authorization": f"Bearer {api.bearer(ACCOUNT)}",
        "Content-Type": "application/json",
    }
    for path in WITH_BODY:
        answer = await api.request("POST", path, body=body, headers=headers)
        assert "JSON object" in assert_refused(answer, 400, "invalid_request")


@pytest.mark.parametrize(
    "media_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonp"]
)
@pytest.mark.gen_test
async def test_body_with_another_content_type_is_refused(api: Api, media_type: str | None) -> None:
    headers = {"Authorization": f"Bearer {api.bearer(ACCOUNT)}"}
    if media_type:
        headers["Content-Type"] = media_type
    for path in WITH_BODY:
        answer = await api.request("POST", path, body=b'{"price_id": "p"}', headers=headers)
        assert_refused(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("media_type", ["Application/JSON", "application/json; charset=utf-8"])
@pytest.mark.gen_test
async def test_json_content_type_accepts_parameters_and_any_case(api: Api, media_type: str) -> None:
    answer = await api.post(TOPUP, {}, headers={"Content-Type": media_type})
    assert_refused(answer, 400, "invalid_request")


def padded(size: int) -> dict[str, str]:
    """Return a body whose JSON has exactly `size` bytes."""
    return {"price_id": "price_1", "x": "x" * (size - len('{"price_id": "price_1", "x": ""}'))}


@pytest.mark.gen_test
async def test_body_is_limited_to_64_kilobytes(buyer: Buyer, service: Service) -> None:
    api = buyer.api
    answer = await api.post(TOPUP, padded(64 * 1024))
    assert_refused(answer, 403, "subscription_required")
    for path in (*WITH_BODY, f"{IAM_ROUTES}/subscription/cancel"):
        answer = await api.post(path, padded(64 * 1024 + 1))
        assert "64 KB" in assert_refused(answer, 413, "too_large")
    assert await kept(service) == {}


@pytest.mark.parametrize("path", WITH_BODY)
@pytest.mark.gen_test
async def test_chunked_body_is_limited_too(api: Api, path: str) -> None:
    async def produce(write: Any) -> None:
        for _ in range(5):
            await write(b" " * 16 * 1024)

    headers = {
        "Authorization": f"Bearer {api.bearer(ACCOUNT)}",
        "Content-Type": "application/json",
    }
    answer = await api.request("POST", path, body_producer=produce, headers=headers)
    assert_refused(answer, 413, "too_large")


@pytest.mark.parametrize("account", [ACCOUNT, None])
@pytest.mark.gen_test
async def test_unknown_path_is_404_in_json(api: Api, account: str | None) -> None:
    for path in ("/", "/api/iam/v1/nothing", f"{TOPUP}/", "/api/iam/v1/subscription/x/cancel"):
        assert_refused(await api.get(path, account), 404, "not_found")
        assert_refused(await api.post(path, {}, account), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", TOPUP, "POST, OPTIONS"),
        ("DELETE", TOPUP, "POST, OPTIONS"),
        ("POST", f"{STRIPE_ROUTES}/topup/prices", "GET, OPTIONS"),
        ("PUT", f"{IAM_ROUTES}/subscription", "GET, OPTIONS"),
        ("GET", f"{IAM_ROUTES}/plans/cancel", "POST, OPTIONS"),
        ("POST", f"{IAM_ROUTES}/ping", "GET, OPTIONS"),
        ("POST", "/healthz", "GET"),
        ("BREW", f"{IAM_ROUTES}/ping", "GET, OPTIONS"),
    ],
)
@pytest.mark.gen_test
async def test_unsupported_method_is_405_in_json(
    api: Api, method: str, path: str, allowed: str
) -> None:
    headers = {"Authorization": f"Bearer {api.bearer(ACCOUNT)}"}
    answer = await api.request(method, path, headers=headers)
    assert_refused(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == allowed


@pytest.mark.parametrize("request_id", ["req-1", "a", "A.b:c_d-9", "x" * 128])
@pytest.mark.gen_test
async def test_valid_request_id_is_returned(api: Api, request_id: str) -> None:
    for path in (f"{IAM_ROUTES}/ping", f"{IAM_ROUTES}/subscription", "/nothing"):
        answer = await api.request("GET", path, headers={"X-Request-Id": request_id})
        assert answer.headers["X-Request-Id"] == request_id
        assert json_of(answer).get("request_id", request_id) == request_id


@pytest.mark.parametrize("request_id", ["", "a b", "x" * 129, "<script>", "a\u00e9", "a/b", '"a"'])
@pytest.mark.gen_test
async def test_invalid_request_id_is_replaced(api: Api, request_id: str) -> None:
    path = f"{IAM_ROUTES}/subscription"
    answers = [
        await api.request("GET", path, headers={"X-Request-Id": request_id}) for _ in range(2)
    ]
    returned = {answer.headers["X-Request-Id"] for answer in answers}
    assert len(returned) == 2
    assert request_id not in returned
    assert {json_of(answer)["request_id"] for answer in answers} == returned


@pytest.mark.gen_test
async def test_unexpected_error_is_500_without_details(
    api: Api, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: str) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(service.store.accounts, "get", fail)
    answer = await api.get(f"{IAM_ROUTES}/usage/credits")
    assert_refused(answer, 500, "internal_error")
    assert b"secret detail" not in answer.body


@pytest.mark.gen_test
async def test_database_error_is_503_with_retry_after(
    api: Api, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pymongo.errors import AutoReconnect  # noqa: PLC0415

    async def fail(*_: object, **__: object) -> None:
        raise AutoReconnect("mongodb://user:password@host is down")

    monkeypatch.setattr(type(service.store._database.accounts), "find_one", fail)
    answer = await api.get(f"{IAM_ROUTES}/usage/credits")
    assert_refused(answer, 503, "store_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert b"password" not in answer.body


@pytest.mark.parametrize(
    "price_id",
    [
        "price_unknown",
        "price with blanks",
        "../v1/customers",
        "price_\u00e9",
        "x" * 255,
        "price_1\n",
    ],
)
@pytest.mark.gen_test
async def test_unknown_price_is_404_and_is_not_used_in_a_stripe_path(
    buyer: Buyer, webhooks: Webhooks, sandbox: Sandbox, price_id: str
) -> None:
    await buyer.subscribe()
    sandbox.api.calls.clear()
    assert_refused(await buyer.ask_to_buy(price_id), 404, "price_not_found")
    assert_refused(await buyer.ask_to_subscribe(price_id), 404, "price_not_found")
    called = {call.path for call in sandbox.api.calls}
    assert called <= {"/v1/prices", f"/v1/prices/{price_id}"}
    assert price_id.isidentifier() or called <= {"/v1/prices"}, (
        "text of a client must not become part of a path"
    )


@pytest.mark.parametrize("page", ["/checkout", f"{STRIPE_ROUTES}/docs/files", f"{ADMIN}/files"])
@pytest.mark.gen_test
async def test_errors_of_files_are_those_of_all_routes(api: Api, page: str) -> None:
    path = f"{page}/none.js"
    for status, code, answer in (
        (404, "not_found", await api.get(path, None)),
        (405, "method_not_allowed", await api.post(path, {}, None)),
        (413, "too_large", await api.request("GET", path, body=b"x")),
    ):
        assert_refused(answer, status, code)
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Server" not in answer.headers
        assert status != 405 or answer.headers["Allow"] == "GET, HEAD"
