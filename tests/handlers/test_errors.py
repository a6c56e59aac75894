"""What clients do wrong: the status it says, the field by its name, always the same shape."""

from typing import Any

import pytest

from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import ACCOUNT, Api, json_of
from tests.support.shop import IAM_ROUTES, STRIPE_ROUTES, Buyer, kept

TOPUP = f"{STRIPE_ROUTES}/topup/payment-intent"
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
    """The one shape of an error; returns its message."""
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
async def test_a_field_of_the_wrong_type_is_named(
    api: Api, service: Service, path: str, name: str, value: Any
) -> None:
    message = assert_refused(await api.post(path, {name: value}), 400, "invalid_request")
    assert f"`{name}" in message
    assert await kept(service) == {}


@pytest.mark.parametrize("path", WITH_BODY)
@pytest.mark.gen_test
async def test_a_missing_field_is_named(api: Api, path: str) -> None:
    message = assert_refused(await api.post(path, {}), 400, "invalid_request")
    assert f"`{WITH_BODY[path][0]}`" in message


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"text"', b"\xff", b"price_id=1"])
@pytest.mark.gen_test
async def test_a_body_that_is_no_json_object_is_refused(api: Api, body: bytes) -> None:
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
async def test_a_body_that_is_not_declared_as_json_is_refused(
    api: Api, media_type: str | None
) -> None:
    headers = {"Authorization": f"Bearer {api.bearer(ACCOUNT)}"}
    if media_type:
        headers["Content-Type"] = media_type
    for path in WITH_BODY:
        answer = await api.request("POST", path, body=b'{"price_id": "p"}', headers=headers)
        assert_refused(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("media_type", ["Application/JSON", "application/json; charset=utf-8"])
@pytest.mark.gen_test
async def test_json_may_be_declared_with_parameters_and_in_any_case(
    api: Api, media_type: str
) -> None:
    answer = await api.post(TOPUP, {}, headers={"Content-Type": media_type})
    assert_refused(answer, 400, "invalid_request")


def padded(size: int) -> dict[str, str]:
    """A body whose JSON is of exactly this many bytes."""
    return {"price_id": "price_1", "x": "x" * (size - len('{"price_id": "price_1", "x": ""}'))}


@pytest.mark.gen_test
async def test_a_body_may_have_64_kilobytes_and_no_more(buyer: Buyer, service: Service) -> None:
    api = buyer.api
    answer = await api.post(TOPUP, padded(64 * 1024))
    assert_refused(answer, 403, "subscription_required")
    for path in (*WITH_BODY, f"{IAM_ROUTES}/subscription/cancel"):
        answer = await api.post(path, padded(64 * 1024 + 1))
        assert "64 KB" in assert_refused(answer, 413, "too_large")
    assert await kept(service) == {}


@pytest.mark.parametrize("path", WITH_BODY)
@pytest.mark.gen_test
async def test_a_body_that_does_not_declare_its_size_is_bounded_too(api: Api, path: str) -> None:
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
async def test_an_unknown_address_is_404_in_json(api: Api, account: str | None) -> None:
    for path in ("/", "/api/iam/v1/nothing", f"{TOPUP}/", "/api/iam/v1/subscription/x/cancel"):
        assert_refused(await api.get(path, account), 404, "not_found")
        assert_refused(await api.post(path, {}, account), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", TOPUP),
        ("DELETE", TOPUP),
        ("POST", f"{STRIPE_ROUTES}/topup/prices"),
        ("PUT", f"{IAM_ROUTES}/subscription"),
        ("GET", f"{IAM_ROUTES}/plans/cancel"),
        ("POST", f"{IAM_ROUTES}/ping"),
        ("POST", "/healthz"),
        ("BREW", f"{IAM_ROUTES}/ping"),
    ],
)
@pytest.mark.gen_test
async def test_another_method_is_405_in_json(api: Api, method: str, path: str) -> None:
    headers = {"Authorization": f"Bearer {api.bearer(ACCOUNT)}"}
    answer = await api.request(method, path, headers=headers)
    assert_refused(answer, 405, "method_not_allowed")


@pytest.mark.parametrize("offered", ["req-1", "a", "A.b:c_d-9", "x" * 128])
@pytest.mark.gen_test
async def test_a_sane_request_id_is_kept(api: Api, offered: str) -> None:
    for path in (f"{IAM_ROUTES}/ping", f"{IAM_ROUTES}/subscription", "/nothing"):
        answer = await api.request("GET", path, headers={"X-Request-Id": offered})
        assert answer.headers["X-Request-Id"] == offered
        assert json_of(answer).get("request_id", offered) == offered


@pytest.mark.parametrize("offered", ["", "a b", "x" * 129, "<script>", "a\u00e9", "a/b", '"a"'])
@pytest.mark.gen_test
async def test_another_request_id_is_replaced(api: Api, offered: str) -> None:
    path = f"{IAM_ROUTES}/subscription"
    answers = [await api.request("GET", path, headers={"X-Request-Id": offered}) for _ in range(2)]
    given = {answer.headers["X-Request-Id"] for answer in answers}
    assert len(given) == 2
    assert offered not in given
    assert {json_of(answer)["request_id"] for answer in answers} == given


@pytest.mark.gen_test
async def test_an_error_that_nobody_expected_says_nothing_of_itself(
    api: Api, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(_: str) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(service.store.accounts, "get", broken)
    answer = await api.get(f"{IAM_ROUTES}/usage/credits")
    assert_refused(answer, 500, "internal_error")
    assert b"secret detail" not in answer.body


@pytest.mark.gen_test
async def test_the_database_is_down_so_clients_are_told_when_to_come_back(
    api: Api, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pymongo.errors import AutoReconnect  # noqa: PLC0415

    async def down(*_: object, **__: object) -> None:
        raise AutoReconnect("mongodb://user:password@host is down")

    monkeypatch.setattr(type(service.store._database.accounts), "find_one", down)
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
async def test_a_price_that_is_none_is_not_found(
    buyer: Buyer, webhooks: Webhooks, sandbox: Sandbox, price_id: str
) -> None:
    await buyer.subscribe()
    sandbox.api.calls.clear()
    assert_refused(await buyer.ask_to_buy(price_id), 404, "price_not_found")
    assert_refused(await buyer.ask_to_subscribe(price_id), 404, "price_not_found")
    asked = {call.path for call in sandbox.api.calls}
    assert asked <= {"/v1/prices", f"/v1/prices/{price_id}"}
    assert price_id.isidentifier() or asked <= {"/v1/prices"}, "a path is not for clients to make"
