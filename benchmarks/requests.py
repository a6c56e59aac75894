"""Signed webhook requests: one distinct paid top-up in each."""

import hashlib
import hmac
import json
import time
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from datalayer_stripe.testing.recordings import recorded_event

WEBHOOK_SECRET = "whsec_benchmarkBenchmarkBenchmark00"
CREDITS = 50
ACCOUNTS = 1000

_BODY_BYTES = 2500


def account_uid(number: int) -> str:
    """Return the uid of an account."""
    return f"account-{number:06}"


def customer_id(number: int) -> str:
    """Return the id of the customer of an account."""
    return f"cus_benchmark{number:06}"


def event_bodies(run: str, count: int, *, accounts: int = ACCOUNTS) -> Iterator[bytes]:
    """Yield the bodies of `payment_intent.succeeded` events with distinct ids.

    Args:
        run: A part of the ids, different for each run on the same database.
        count: The number of events.
        accounts: The number of accounts that the events are for, in turn.
    """
    for number in range(count):
        yield _event(f"{run}x{number:07}", number % accounts).encode()


def payment_intent(intent_id: str) -> dict[str, Any]:
    """Return the PaymentIntent of one of the events that are for :data:`ACCOUNTS` accounts."""
    number = intent_id.removeprefix("pi_")
    event = json.loads(_event(number, int(number.rpartition("x")[2]) % ACCOUNTS))
    found: dict[str, Any] = event["data"]["object"]
    return found


def sign(body: bytes, timestamp: int) -> str:
    """Return the `Stripe-Signature` header of a body.

    https://docs.stripe.com/webhooks#verify-manually
    """
    signed = f"{timestamp}.".encode() + body
    digest = hmac.new(WEBHOOK_SECRET.encode(), signed, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


def signed_headers(body: bytes) -> dict[str, str]:
    """Return the headers of a delivery that is signed now."""
    return {
        "Content-Type": "application/json; charset=utf-8",
        "Stripe-Signature": sign(body, int(time.time())),
    }


def write_requests(path: Path, bodies: Iterable[bytes]) -> None:
    """Write requests that are signed now, for `load.lua`. Stripe's signatures last 300 seconds."""
    with path.open("wb") as file:
        for body in bodies:
            headers = {"Host": "127.0.0.1", **signed_headers(body), "Content-Length": len(body)}
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            request = lines.encode() + b"\r\n" + body
            file.write(b"%06d\n%b" % (len(request), request))


def _event(number: str, account: int) -> str:
    return (
        _template()
        .replace("NUMBER", number)
        .replace("ACCOUNT", account_uid(account))
        .replace("CUSTOMER", customer_id(account))
    )


@cache
def _template() -> str:
    """Return the text of an event with placeholders, as long as Stripe's are."""
    event = recorded_event(
        "payment_intent.succeeded",
        id="evt_NUMBER",
        object_id="pi_NUMBER",
        customer="CUSTOMER",
        latest_charge="ch_NUMBER",
        client_secret="pi_NUMBER_secret_NUMBER",
        description="",
    )
    event["data"]["object"]["metadata"] |= {"account_uid": "ACCOUNT", "credits": str(CREDITS)}
    length = len(json.dumps(event, indent=2))
    # Stripe sends indented JSON. The description fills the body up to a typical length.
    event["data"]["object"]["description"] = "x" * max(0, _BODY_BYTES - length)
    return json.dumps(event, indent=2)
