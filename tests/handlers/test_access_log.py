"""The log of requests and deliveries: it identifies each of them and contains no secret."""

import asyncio
import json
import logging
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from tornado.iostream import IOStream

from datalayer_stripe.logs import JsonFormatter, default_config
from datalayer_stripe.sandbox import SandboxCardError
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.support.app import ACCOUNT, WEBHOOK_SECRET, Api, changed, json_of, recorded
from tests.support.shop import DECLINED_CARD, IAM_ROUTES, STRIPE_ROUTES, Buyer

PAID = recorded("payment_intent.succeeded")
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
async def test_delivery_is_logged_with_event_and_account(
    api: Api, lines: list[dict[str, Any]]
) -> None:
    await api.deliver(PAID)
    [line] = [line for line in lines if line["message"] == "delivery"]
    assert line["event_id"] == json.loads(PAID)["id"]
    assert line["account_uid"] == ACCOUNT
    assert (line["type"], line["outcome"]) == ("payment_intent.succeeded", "processed")
    [request] = [line for line in lines if line["message"] == "request"]
    assert (request["method"], request["status"]) == ("POST", 200)
    assert request["path"] == f"{STRIPE_ROUTES}/webhook"
    assert line["request_id"] == request["request_id"]


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
