"""The log of requests and deliveries: it identifies each of them and contains no secret."""

import asyncio
import json
import logging
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from tornado.iostream import IOStream

from datalayer_stripe.errors import StoreUnavailable
from datalayer_stripe.handlers import bodies
from datalayer_stripe.logs import JsonFormatter, default_config
from datalayer_stripe.sandbox import SandboxCardError
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from datalayer_stripe.webhooks import delivery
from datalayer_stripe.webhooks.outcome import Outcome
from tests.handlers.test_bodies import connected, webhook_headers
from tests.support.app import (
    ACCOUNT,
    ADMIN_ROLE,
    OPERATOR,
    WEBHOOK_SECRET,
    Api,
    changed,
    json_of,
    recorded,
    sign,
)
from tests.support.shop import DECLINED_CARD, IAM_ROUTES, STRIPE_ROUTES, Buyer

PAID = recorded("payment_intent.succeeded")
WEBHOOK = f"{STRIPE_ROUTES}/webhook"
CONFIG = default_config(level="DEBUG", json=True)


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """Return the lines of the log, parsed, as `serve --log-level DEBUG` writes them."""
    found: list[dict[str, Any]] = []
    formatter = JsonFormatter()

    class ListHandler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(json.loads(formatter.format(record)))

    handler, root = ListHandler(), logging.getLogger()
    levels = {name: logger["level"] for name, logger in CONFIG["loggers"].items()}
    before = {name: logging.getLogger(name).level for name in (None, *levels)}
    root.addHandler(handler)
    for name, level in {None: CONFIG["root"]["level"], **levels}.items():
        logging.getLogger(name).setLevel(level)
    yield found
    root.removeHandler(handler)
    for name, number in before.items():
        logging.getLogger(name).setLevel(number)


def package_lines(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the lines of this package's loggers."""
    return [line for line in lines if line["logger"].startswith("datalayer_stripe")]


@pytest.mark.gen_test
async def test_delivery_has_one_line_with_event_account_and_request(
    api: Api, lines: list[dict[str, Any]]
) -> None:
    answer = await api.deliver(PAID)
    [line] = package_lines(lines)
    assert line.pop("time")
    assert line.pop("milliseconds") > 0
    assert line == {
        "level": "INFO",
        "logger": "datalayer_stripe.access",
        "message": "delivery",
        "method": "POST",
        "path": WEBHOOK,
        "status": 200,
        "remote_ip": "127.0.0.1",
        "request_id": answer.headers["X-Request-Id"],
        "event_id": json.loads(PAID)["id"],
        "account_uid": ACCOUNT,
        "type": "payment_intent.succeeded",
        "outcome": "processed",
    }


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (PAID, {}, 400, "invalid_signature"),
        (PAID, {"Stripe-Signature": "t=1,v1=00"}, 400, "invalid_signature"),
        (b"[]", None, 400, "invalid_request"),
        (b" " * (1024 * 1024 + 1), {"Stripe-Signature": "t=1,v1=00"}, 413, "too_large"),
    ],
    ids=["no signature", "wrong signature", "not an event", "too large"],
)
@pytest.mark.gen_test
async def test_refused_delivery_has_one_line_with_code_and_reason(
    api: Api,
    lines: list[dict[str, Any]],
    body: bytes,
    headers: dict[str, str] | None,
    status: int,
    code: str,
) -> None:
    if headers is None:
        headers = {"Stripe-Signature": sign(body)}  # A signature expires in minutes.
    answer = await api.request("POST", WEBHOOK, body=body, headers=headers)
    assert answer.code == status
    # The warning that no delivery was ever verified is another line, once an hour.
    monitor = "datalayer_stripe.webhooks.signature_monitor"
    [line] = [line for line in package_lines(lines) if line["logger"] != monitor]
    assert (line["message"], line["level"]) == ("delivery", "INFO")
    assert (line["status"], line["code"]) == (status, code)
    assert line["reason"] == json_of(answer)["message"]
    assert line["request_id"] == answer.headers["X-Request-Id"]
    assert "outcome" not in line


@pytest.mark.gen_test
async def test_delivery_without_a_database_has_one_line_with_event_and_cause(
    api: Api, service: Service, monkeypatch: pytest.MonkeyPatch, lines: list[dict[str, Any]]
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable from ConnectionError("sk_test_example")

    monkeypatch.setattr(service.processor, "process", fail)
    assert (await api.deliver(PAID)).code == 503
    [line] = package_lines(lines)
    assert (line["message"], line["level"], line["status"]) == ("delivery", "WARNING", 503)
    assert (line["code"], line["cause"]) == ("store_unavailable", "ConnectionError")
    assert (line["event_id"], line["account_uid"]) == (json.loads(PAID)["id"], ACCOUNT)
    assert line["type"] == "payment_intent.succeeded"


@pytest.mark.gen_test
async def test_failed_delivery_has_its_outcome_in_the_line(
    api: Api, service: Service, monkeypatch: pytest.MonkeyPatch, lines: list[dict[str, Any]]
) -> None:
    async def fail(*_: object, **__: object) -> Outcome:
        return Outcome.FAILED

    monkeypatch.setattr(service.processor, "process", fail)
    assert (await api.deliver(PAID)).code == 503
    [line] = package_lines(lines)
    assert (line["message"], line["level"], line["status"]) == ("delivery", "WARNING", 503)
    assert (line["outcome"], line["code"]) == ("failed", "delivery_failed")


@pytest.mark.gen_test
async def test_late_delivery_has_a_line_for_its_answer_and_one_for_its_end(
    api: Api, service: Service, monkeypatch: pytest.MonkeyPatch, lines: list[dict[str, Any]]
) -> None:
    may_end = asyncio.Event()

    async def wait(*_: object, **__: object) -> Outcome:
        await may_end.wait()
        return Outcome.PROCESSED

    monkeypatch.setattr(service.processor, "process", wait)
    monkeypatch.setattr(delivery, "ANSWER_DEADLINE_SECONDS", 0.01)
    assert (await api.deliver(PAID)).code == 503
    may_end.set()
    await service.deliveries.idle()
    answered, ended = package_lines(lines)
    assert (answered["status"], answered["code"]) == (503, "delivery_failed")
    assert (ended["late"], ended["outcome"]) == (True, "processed")
    for line in (answered, ended):
        assert (line["message"], line["event_id"]) == ("delivery", json.loads(PAID)["id"])
    assert answered["request_id"] == ended["request_id"]


@pytest.mark.gen_test
async def test_event_of_one_delivery_is_not_in_the_line_of_the_next(
    api: Api, lines: list[dict[str, Any]]
) -> None:
    await api.deliver(PAID)
    await api.deliver(PAID, "t=1,v1=00")
    _, refused = [line for line in lines if line["message"] == "delivery"]
    assert not {"event_id", "account_uid", "type", "outcome"} & set(refused)


@pytest.mark.gen_test
async def test_rejection_is_logged_with_reason(api: Api, lines: list[dict[str, Any]]) -> None:
    body = changed(PAID, metadata={"account_uid": ACCOUNT, "credits": "5"})
    await api.deliver(body)
    [line] = [line for line in lines if line["message"] == "plugin rejected the event"]
    assert line["plugin"] == "top-up-credits"
    assert "lacks" in line["reason"]
    assert (line["event_id"], line["account_uid"]) == (json.loads(body)["id"], ACCOUNT)


@pytest.mark.gen_test
async def test_all_log_lines_of_request_have_its_id_and_account(
    api: Api, lines: list[dict[str, Any]], quick_retries: None
) -> None:
    headers = {"X-Request-Id": "req-1", "Authorization": f"Bearer {api.bearer(ACCOUNT)}"}
    await api.request("GET", f"{IAM_ROUTES}/subscription?secret=1", headers=headers)
    assert package_lines(lines)
    for line in package_lines(lines):
        assert (line["request_id"], line["account_uid"]) == ("req-1", ACCOUNT), line
    assert "secret=1" not in json.dumps(lines)


@pytest.mark.gen_test
async def test_line_of_a_caller_who_is_no_operator_names_the_missing_role(
    api: Api, lines: list[dict[str, Any]]
) -> None:
    assert (await api.get(f"{STRIPE_ROUTES}/admin/overview", OPERATOR)).code == 403
    assert {line["required_role"] for line in package_lines(lines)} == {ADMIN_ROLE}


@pytest.mark.gen_test
async def test_concurrent_requests_do_not_mix_log_context(
    api: Api, lines: list[dict[str, Any]]
) -> None:
    async def request_credits(n: int) -> None:
        headers = {"X-Request-Id": f"req-{n}"}
        headers["Authorization"] = f"Bearer {api.bearer(f'account-{n}')}"
        await api.request("GET", f"{IAM_ROUTES}/usage/credits", headers=headers)

    await asyncio.gather(*(request_credits(n) for n in range(20)))
    pairs = {(line["request_id"], line["account_uid"]) for line in package_lines(lines)}
    assert pairs == {(f"req-{n}", f"account-{n}") for n in range(20)}


@pytest.mark.gen_test
async def test_purchase_from_start_to_end_logs_no_secret(
    buyer: Buyer,
    service: Service,
    webhooks: Webhooks,
    lines: list[dict[str, Any]],
    quick_retries: None,
) -> None:
    bearer = buyer.api.bearer(ACCOUNT, user={"email": "ada@example.com", "firstName": "Ada"})
    await buyer.api.post(f"{IAM_ROUTES}/checkout/portal", {"return_url": "ada@example.com"})
    await buyer.ask_to_subscribe(user={"email": "ada@example.com", "firstName": "Ada"})
    await buyer.subscribe()
    await buyer.buy()
    started = json_of(await buyer.ask_to_buy())
    with pytest.raises(SandboxCardError):
        buyer.sandbox.confirm_payment(started["client_secret"], DECLINED_CARD)
    headers = {"Authorization": f"Bearer {bearer}x"}
    await buyer.api.request("GET", f"{IAM_ROUTES}/subscription", headers=headers)
    buyer.sandbox.api.refuse(500, times=3)
    await buyer.ask_to_buy()
    await webhooks.settle()
    assert len(package_lines(lines)) > 20
    text = json.dumps([line for line in lines if not line["logger"].startswith("tornado")])
    settings = service.settings
    for secret in (
        settings.stripe_api_key.get_secret_value(),
        settings.jwt_secret.get_secret_value(),
        WEBHOOK_SECRET,
        started["client_secret"],
        bearer,
        bearer.split(".")[1],
        "ada@",
        "Ada",
    ):
        assert secret not in text


@pytest.mark.gen_test
async def test_secret_in_exception_message_is_redacted(
    api: Api, service: Service, monkeypatch: pytest.MonkeyPatch, lines: list[dict[str, Any]]
) -> None:
    secrets = ("sk_test_example", WEBHOOK_SECRET, "ada@example.com", "pi_1_secret_2")

    async def fail(_: str) -> None:
        raise RuntimeError(" ".join(secrets))

    monkeypatch.setattr(service.store.accounts, "get", fail)
    await api.get(f"{IAM_ROUTES}/usage/credits")
    [line] = [line for line in lines if line["message"] == "unexpected error"]
    assert "RuntimeError: [redacted]" in line["exc_info"]
    assert not [secret for secret in secrets if secret in json.dumps(lines)]


@pytest.mark.gen_test
async def test_long_path_and_method_are_shortened_in_log(
    api: Api, lines: list[dict[str, Any]]
) -> None:
    long_text = "-eyJ" * 15_000
    await api.request("GET", f"/{long_text}")
    stream = IOStream(socket.socket())
    await stream.connect(("127.0.0.1", int(api.url.rpartition(":")[2])))
    await stream.write(f"{'M' * 60_000} / HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    await stream.read_until(b"\r\n\r\n")
    stream.close()
    by_path, by_method = [line for line in lines if line["message"] == "request"]
    assert len(json.dumps(by_path)) < 1000
    assert len(json.dumps(by_method)) < 1000
    assert by_method["method"].startswith("MMMM")


@pytest.mark.parametrize(
    ("path", "secret"),
    [
        (f"/{'a' * 240}/sk_live_{'Q' * 100}/{'b' * 240}", "sk_live_"),
        (f"/{'a' * 240}/eyJ{'Q' * 600}", "eyJ"),
        ("/ada%40example.com", "ada"),
        ("/key%2Fsk_live_abcdef0123456789", "sk_live_"),
        ("/whsec%5Fabcdef0123456789", "whsec"),
    ],
)
@pytest.mark.gen_test
async def test_path_is_decoded_and_redacted_before_it_is_shortened(
    api: Api, lines: list[dict[str, Any]], path: str, secret: str
) -> None:
    await api.request("GET", path)
    [line] = [line for line in lines if line["message"] == "request"]
    assert secret not in line["path"]
    assert "QQ" not in line["path"]
    assert "0123456789" not in line["path"]
    assert "[redacted]" in line["path"]


@pytest.mark.gen_test
async def test_body_that_is_late_is_logged_with_its_own_request(
    api: Api, lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_TIMEOUT_SECONDS", 0.2)
    await api.deliver(PAID)  # It sets the timer.
    async with connected(api) as connection:
        headers = f"{webhook_headers(900)}X-Request-Id: half-sent\r\n"
        await connection.send("POST", WEBHOOK, headers, b"x")
        assert await connection.reader.read() == b""
    [line] = [one for one in lines if "did not arrive in time" in one["message"]]
    assert line["request_id"] == "half-sent"
