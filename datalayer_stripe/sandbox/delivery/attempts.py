"""One delivery of an event to an endpoint: the signed POST and the record of each attempt.

https://docs.stripe.com/webhooks#verify-manually
"""

import hashlib
import hmac
import json
from dataclasses import asdict, dataclass
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPError, HTTPRequest

from ..shapes.objects import Object

USER_AGENT = "Stripe/1.0 (+https://stripe.com/docs/webhooks)"
_EXCERPT = 500


@dataclass(frozen=True)
class AttemptRecord:
    """One POST of an event.

    Attributes:
        event_id: the event's identifier.
        type: the event's type.
        endpoint_id: the endpoint's identifier.
        url: where it was sent.
        attempt: 1 for the first.
        status: the answer's HTTP status; None if there was no answer.
        body: the answer's first 500 characters.
        error: why there was no answer; None if there was one.
        at: when it was sent, in epoch seconds.
    """

    event_id: str
    type: str
    endpoint_id: str
    url: str
    attempt: int
    status: int | None
    body: str
    error: str | None
    at: float

    @property
    def succeeded(self) -> bool:
        """Whether the endpoint took the event."""
        return self.status is not None and 200 <= self.status < 300

    def as_dict(self) -> dict[str, Any]:
        """Return the record as plain data."""
        return {**asdict(self), "succeeded": self.succeeded}


@dataclass
class Delivery:
    """An event on its way to an endpoint.

    Attributes:
        event: the event, in Stripe's current shape.
        endpoint: the endpoint.
        attempts: how often it was tried.
    """

    event: Object
    endpoint: Object
    attempts: int = 0


def encode(event: Object) -> bytes:
    """Return an event's body, byte for byte as Stripe lays it out."""
    return json.dumps(event, indent=2, ensure_ascii=False).encode()


def sign(body: bytes, secrets: list[str], timestamp: int) -> str:
    """Return the `Stripe-Signature` header: one `v1` for each active secret."""
    signed = str(timestamp).encode() + b"." + body
    digests = [hmac.new(s.encode(), signed, hashlib.sha256).hexdigest() for s in secrets]
    return ",".join([f"t={timestamp}", *(f"v1={digest}" for digest in digests)])


async def post(
    client: AsyncHTTPClient,
    delivery: Delivery,
    body: bytes,
    secrets: list[str],
    *,
    at: float,
    within: float,
) -> AttemptRecord:
    """POST an event once and return what came of it; nothing is raised."""
    delivery.attempts += 1
    request = HTTPRequest(
        delivery.endpoint["url"],
        method="POST",
        body=body,
        headers={
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": sign(body, secrets, int(at)),
            "User-Agent": USER_AGENT,
        },
        connect_timeout=within,
        request_timeout=within,
        follow_redirects=False,
    )
    try:
        response = await client.fetch(request, raise_error=False)
    except (HTTPError, OSError) as error:
        return record(delivery, at, error=f"{type(error).__name__}: {error}")
    if response.code == 599:
        return record(delivery, at, error=str(response.error))
    text = response.body.decode(errors="replace")
    return record(delivery, at, status=response.code, body=text)


def record(
    delivery: Delivery,
    at: float,
    *,
    status: int | None = None,
    body: str = "",
    error: str | None = None,
) -> AttemptRecord:
    """Return the record of a delivery's latest attempt."""
    event, endpoint = delivery.event, delivery.endpoint
    return AttemptRecord(
        event_id=event["id"],
        type=event["type"],
        endpoint_id=endpoint["id"],
        url=endpoint["url"],
        attempt=delivery.attempts,
        status=status,
        body=body[:_EXCERPT],
        error=error,
        at=at,
    )
