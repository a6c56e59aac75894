"""What a stranger, a broken sender or a wrong set-up may POST: the status it says, nothing kept."""

import asyncio
import json
import socket
import time

import pytest

from datalayer_stripe.service import Service
from tests.support.app import Api, Clock, json_of, recorded, sign

pytestmark = pytest.mark.mongod

PAID = recorded("payment_intent.succeeded")
WEBHOOK = "/api/iam/stripe/v1/webhook"


async def kept(service: Service) -> dict[str, int]:
    """How many documents there are where a delivery could have left some."""
    database = service.store._database
    names = [name for name in await database.list_collection_names() if name != "service"]
    counts = {name: await database[name].count_documents({}) for name in names}
    return {name: count for name, count in counts.items() if count}


def swapped(signature: str) -> str:
    """The signature with its last digit changed."""
    return signature[:-1] + ("0" if signature[-1] != "0" else "1")


def forged(now: float) -> dict[str, str]:
    """Headers that Stripe did not make of this body at this moment, by what is wrong."""
    return {
        "no header": "",
        "another secret": sign(PAID, secret="whsec_of_a_stranger"),
        "one digit off": swapped(sign(PAID)),
        "another body": sign(PAID + b" "),
        "no timestamp": sign(PAID).split(",")[1],
        "no signature": sign(PAID).split(",")[0],
        "another scheme": sign(PAID).replace("v1=", "v0="),
        "moved timestamp": f"t={int(now) - 1},{sign(PAID, at=now).split(',')[1]}",
        "garbage": "garbage",
        "not ascii": "t=1,v1=\u00e9",
        "huge timestamp": f"t={'9' * 4000},v1=00",
        "old": sign(PAID, at=now - 301),
        "of the future": sign(PAID, at=now + 400),
    }


@pytest.mark.parametrize("name", forged(0))
@pytest.mark.gen_test
async def test_a_forged_or_old_delivery_is_refused_untouched(
    api: Api, service: Service, name: str
) -> None:
    answer = await api.deliver(PAID, forged(time.time())[name])
    assert (answer.code, json_of(answer)["code"]) == (400, "invalid_signature")
    assert json_of(answer)["success"] is False
    assert json_of(answer)["request_id"] == answer.headers["X-Request-Id"]
    assert await kept(service) == {}


@pytest.mark.gen_test
async def test_a_signature_just_inside_the_tolerance_is_taken(api: Api) -> None:
    answer = await api.deliver(PAID, sign(PAID, at=time.time() - 295))
    assert answer.code == 200


@pytest.mark.gen_test
async def test_the_tolerance_follows_the_services_clock(api: Api, clock: Clock) -> None:
    clock.advance(seconds=400)
    assert (await api.deliver(PAID)).code == 400
    assert (await api.deliver(PAID, sign(PAID, at=time.time() + 400))).code == 200


@pytest.mark.gen_test
async def test_each_secret_is_taken_while_one_is_being_rolled(api: Api) -> None:
    assert (
        await api.deliver(PAID, sign(PAID, secret="whsec_rolledRolledRolledRolled00"))
    ).code == 200
    now = time.time()
    both = f"{sign(PAID, secret='whsec_old', at=now)},{sign(PAID, at=now).split(',')[1]},v0=00"
    assert (await api.deliver(PAID, both)).code == 200


@pytest.mark.parametrize("body", [PAID[:-20], b"", b"garbage", b"\xff\xfe\x00", b"[]", b"null"])
@pytest.mark.gen_test
async def test_a_signed_body_that_is_no_event_is_refused(
    api: Api, service: Service, body: bytes
) -> None:
    answer = await api.deliver(body)
    assert answer.code == 400
    assert json_of(answer)["code"] in {"invalid_request", "invalid_signature"}
    assert await kept(service) == {}


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
async def test_a_malformed_event_is_refused(api: Api, service: Service, change: dict) -> None:
    answer = await api.deliver(json.dumps({**json.loads(PAID), **change}).encode())
    assert (answer.code, json_of(answer)["code"]) == (400, "invalid_request")
    assert next(iter(change)) in json_of(answer)["message"]
    assert await kept(service) == {}


@pytest.mark.gen_test
async def test_an_event_of_the_other_mode_is_refused(api: Api, service: Service) -> None:
    answer = await api.deliver(json.dumps({**json.loads(PAID), "livemode": True}).encode())
    assert (answer.code, json_of(answer)["code"]) == (400, "invalid_request")
    assert await kept(service) == {}


@pytest.mark.gen_test
async def test_a_body_over_a_megabyte_is_refused(api: Api, service: Service) -> None:
    body = PAID + b" " * 1024 * 1024
    answer = await api.deliver(body)
    assert (answer.code, json_of(answer)["code"]) == (413, "too_large")
    assert await kept(service) == {}


@pytest.mark.gen_test
async def test_a_body_of_just_a_megabyte_is_taken(api: Api) -> None:
    answer = await api.deliver(PAID + b" " * (1024 * 1024 - len(PAID)))
    assert answer.code == 200


@pytest.mark.gen_test
async def test_an_oversized_body_in_chunks_is_refused_without_being_kept(
    api: Api, service: Service
) -> None:
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
    assert await kept(service) == {}


@pytest.mark.gen_test
async def test_a_truncated_delivery_leaves_nothing_and_the_service_goes_on(
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
    assert await kept(service) == {}
    assert (await api.deliver(PAID)).code == 200


@pytest.mark.gen_test
async def test_the_webhook_needs_no_bearer_and_takes_no_other_method(api: Api) -> None:
    assert (await api.request("GET", WEBHOOK)).code == 405
    answer = await api.request("OPTIONS", WEBHOOK, headers={"Origin": "https://evil.example.com"})
    assert answer.code == 405
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.gen_test
async def test_the_database_is_down_so_stripe_is_told_to_try_again(
    api: Api, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pymongo.errors import AutoReconnect  # noqa: PLC0415

    def down(*_: object, **__: object) -> None:
        raise AutoReconnect("mongodb://user:password@host is down")

    monkeypatch.setattr(type(service.store._database.events), "find", down)
    answer = await api.deliver(PAID)
    assert (answer.code, json_of(answer)["code"]) == (503, "store_unavailable")
    assert answer.headers["Retry-After"]
    assert b"password" not in answer.body
