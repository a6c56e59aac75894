"""Webhook requests that are forged, malformed or wrongly configured store nothing."""

import asyncio
import json
import socket
import time

import pytest
import stripe

from datalayer_stripe.service import Service
from tests.support.app import Api, Clock, json_of, recorded, sign

pytestmark = pytest.mark.mongod

PAID = recorded("payment_intent.succeeded")
WEBHOOK = "/api/iam/stripe/v1/webhook"


async def document_counts(service: Service) -> dict[str, int]:
    """Return the number of documents in each collection that a delivery could write to."""
    database = service.store._database
    names = [name for name in await database.list_collection_names() if name != "service"]
    counts = {name: await database[name].count_documents({}) for name in names}
    return {name: count for name, count in counts.items() if count}


def change_last_digit(signature: str) -> str:
    """Return the signature with another last digit."""
    return signature[:-1] + ("0" if signature[-1] != "0" else "1")


def forged(now: float) -> dict[str, str]:
    """Return signatures that are not valid for the body at the time `now`, by their fault."""
    return {
        "no header": "",
        "another secret": sign(PAID, secret="whsec_of_a_stranger"),
        "one digit off": change_last_digit(sign(PAID)),
        "another body": sign(PAID + b" "),
        "no timestamp": sign(PAID).split(",")[1],
        "no signature": sign(PAID).split(",")[0],
        "another scheme": sign(PAID).replace("v1=", "v0="),
        "moved timestamp": f"t={int(now) - 1},{sign(PAID, at=now).split(',')[1]}",
        "garbage": "garbage",
        "not ascii": "t=1,v1=\u00e9",
        "many signatures": f"{sign(PAID)},{','.join(['v1=' + '0' * 64] * 20)}",
        "huge timestamp": f"t={'9' * 4000},v1=00",
        "old": sign(PAID, at=now - 301),
        "of the future": sign(PAID, at=now + 400),
    }


@pytest.mark.parametrize("name", forged(0))
@pytest.mark.gen_test
async def test_forged_or_old_delivery_is_refused_and_nothing_is_stored(
    api: Api, service: Service, name: str
) -> None:
    answer = await api.deliver(PAID, forged(time.time())[name])
    assert (answer.code, json_of(answer)["code"]) == (400, "invalid_signature")
    assert json_of(answer)["success"] is False
    assert json_of(answer)["request_id"] == answer.headers["X-Request-Id"]
    assert await document_counts(service) == {}


@pytest.mark.gen_test
async def test_old_delivery_is_refused_before_its_body_is_hashed(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[object] = []
    monkeypatch.setattr(stripe.WebhookSignature, "_compute_signature", hashed.append)
    answer = await api.deliver(PAID, forged(time.time())["old"])
    assert (answer.code, hashed) == (400, [])


@pytest.mark.gen_test
async def test_signature_just_inside_tolerance_is_accepted(api: Api) -> None:
    answer = await api.deliver(PAID, sign(PAID, at=time.time() - 295))
    assert answer.code == 200


@pytest.mark.gen_test
async def test_signature_tolerance_uses_service_clock(api: Api, clock: Clock) -> None:
    clock.advance(seconds=400)
    assert (await api.deliver(PAID)).code == 400
    assert (await api.deliver(PAID, sign(PAID, at=time.time() + 400))).code == 200


@pytest.mark.gen_test
async def test_every_configured_secret_is_accepted(api: Api) -> None:
    assert (
        await api.deliver(PAID, sign(PAID, secret="whsec_rolledRolledRolledRolled00"))
    ).code == 200
    now = time.time()
    both = f"{sign(PAID, secret='whsec_old', at=now)},{sign(PAID, at=now).split(',')[1]},v0=00"
    assert (await api.deliver(PAID, both)).code == 200


@pytest.mark.parametrize("body", [PAID[:-20], b"", b"garbage", b"\xff\xfe\x00", b"[]", b"null"])
@pytest.mark.gen_test
async def test_signed_body_that_is_not_an_event_is_refused(
    api: Api, service: Service, body: bytes
) -> None:
    answer = await api.deliver(body)
    assert answer.code == 400
    assert json_of(answer)["code"] in {"invalid_request", "invalid_signature"}
    assert await document_counts(service) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"id": None},
        {"id": ""},
        {"type": 7},
        {"livemode": "maybe"},
        {"data": {}},
        {"data": {"object": []}},
        {"created": "yesterday"},
    ],
)
@pytest.mark.gen_test
async def test_malformed_event_is_refused(api: Api, service: Service, change: dict) -> None:
    answer = await api.deliver(json.dumps({**json.loads(PAID), **change}).encode())
    assert (answer.code, json_of(answer)["code"]) == (400, "invalid_request")
    assert next(iter(change)) in json_of(answer)["message"]
    assert await document_counts(service) == {}


@pytest.mark.gen_test
async def test_event_of_other_mode_is_refused(api: Api, service: Service) -> None:
    answer = await api.deliver(json.dumps({**json.loads(PAID), "livemode": True}).encode())
    assert (answer.code, json_of(answer)["code"]) == (400, "invalid_request")
    assert await document_counts(service) == {}


@pytest.mark.gen_test
async def test_body_over_a_megabyte_is_refused(api: Api, service: Service) -> None:
    body = PAID + b" " * 1024 * 1024
    answer = await api.deliver(body)
    assert (answer.code, json_of(answer)["code"]) == (413, "too_large")
    assert await document_counts(service) == {}


@pytest.mark.gen_test
async def test_body_of_exactly_a_megabyte_is_accepted(api: Api) -> None:
    answer = await api.deliver(PAID + b" " * (1024 * 1024 - len(PAID)))
    assert answer.code == 200


@pytest.mark.gen_test
async def test_oversized_chunked_body_is_refused(api: Api, service: Service) -> None:
    sent = 0

    async def produce(write) -> None:
        nonlocal sent
        for _ in range(40):
            await write(b" " * 64 * 1024)
            sent += 64 * 1024

    answer = await api.request(
        "POST", WEBHOOK, body_producer=produce, headers={"Stripe-Signature": sign(PAID)}
    )
    assert (answer.code, json_of(answer)["code"]) == (413, "too_large")
    assert sent > 1024 * 1024
    assert await document_counts(service) == {}


@pytest.mark.gen_test
async def test_truncated_delivery_stores_nothing_and_next_delivery_works(
    api: Api, service: Service
) -> None:
    host, port = api.url.removeprefix("http://").split(":")
    head = (
        f"POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(PAID)}\r\n"
        f"Stripe-Signature: {sign(PAID)}\r\n\r\n"
    )
    _, writer = await asyncio.open_connection(host, int(port), family=socket.AF_INET)
    writer.write(head.encode() + PAID[:-10])
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await api.request("GET", "/readyz")).code == 200
    assert await document_counts(service) == {}
    assert (await api.deliver(PAID)).code == 200


@pytest.mark.gen_test
async def test_webhook_accepts_only_post(api: Api) -> None:
    assert (await api.request("GET", WEBHOOK)).code == 405
    answer = await api.request("OPTIONS", WEBHOOK, headers={"Origin": "https://evil.example.com"})
    assert answer.code == 405
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.gen_test
async def test_webhook_answers_503_when_database_is_down(
    api: Api, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pymongo.errors import AutoReconnect  # noqa: PLC0415

    def fail(*_: object, **__: object) -> None:
        raise AutoReconnect("mongodb://user:password@host is down")

    for method in ("find", "find_one", "update_one"):
        monkeypatch.setattr(type(service.store._database.events), method, fail)
    answer = await api.deliver(PAID)
    assert (answer.code, json_of(answer)["code"]) == (503, "store_unavailable")
    assert answer.headers["Retry-After"]
    assert b"password" not in answer.body
