"""Attempts to deliver an event to an endpoint: the signed POST and its record.

https://docs.stripe.com/webhooks#verify-manually
"""

import hashlib
import hmac
import json
from dataclasses import asdict, dataclass
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPError, HTTPRequest

from ..resources.event_destinations import KIND
from ..shapes.objects import Object
from ..shapes.thin_events import thin_type

USER_AGENT = "Stripe/1.0 (+https://stripe.com/docs/webhooks)"
_MAX_BODY = 500  # characters


@dataclass(frozen=True)
class AttemptRecord:
    """Record of one POST of an event.

    Attributes:
        event_id: the identifier of the event; of a thin event, that of its snapshot event.
        type: the type in the body.
        endpoint_id: the endpoint's identifier.
        url: the endpoint's URL.
        attempt: the attempt's number, starting at 1.
        status: the answer's HTTP status; None if there was no answer.
        body: the first 500 characters of the answer.
        error: the reason if there was no answer; otherwise None.
        at: the time of the POST, in epoch seconds.
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
        """Whether the endpoint accepted the event, with a 2xx status."""
        return self.status is not None and 200 <= self.status < 300

    def as_dict(self) -> dict[str, Any]:
        """Return the record as plain data."""
        return {**asdict(self), "succeeded": self.succeeded}


@dataclass
class Delivery:
    """The delivery of an event to an endpoint.

    Attributes:
        event: the snapshot event, in Stripe's current shape.
        endpoint: the webhook endpoint or event destination.
        attempts: the number of attempts so far.
    """

    event: Object
    endpoint: Object
    attempts: int = 0

    @property
    def is_thin(self) -> bool:
        """Whether the endpoint receives the thin event."""
        return bool(self.endpoint["object"] == KIND)

    @property
    def url(self) -> str:
        """The URL of the endpoint."""
        owner = self.endpoint["webhook_endpoint"] if self.is_thin else self.endpoint
        return str(owner["url"])


def encode(event: Object) -> bytes:
    """Return the request body of an event, formatted byte for byte like Stripe's."""
    return json.dumps(event, indent=2, ensure_ascii=False).encode()


def sign(body: bytes, secrets: list[str], timestamp: int) -> str:
    """Return the `Stripe-Signature` header, with one `v1` per secret.

    Args:
        body: the request body.
        secrets: the active secrets, `whsec_…`.
        timestamp: epoch seconds.
    """
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
    timeout: float,  # noqa: ASYNC109 - Tornado's client enforces it
) -> AttemptRecord:
    """POST an event once and return the record of the attempt; network errors are recorded.

    Args:
        client: the HTTP client.
        delivery: the event and the endpoint; its number of attempts is increased.
        body: the request body.
        secrets: the active secrets of the endpoint.
        at: the time of the attempt, in epoch seconds.
        timeout: seconds to wait for the answer.
    """
    delivery.attempts += 1
    request = HTTPRequest(
        delivery.url,
        method="POST",
        body=body,
        headers={
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": sign(body, secrets, int(at)),
            "User-Agent": USER_AGENT,
        },
        connect_timeout=timeout,
        request_timeout=timeout,
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
    """Return the record of a delivery's latest attempt.

    Args:
        delivery: the event and the endpoint.
        at: the time of the attempt, in epoch seconds.
        status: the answer's HTTP status; None if there was no answer.
        body: the answer's body.
        error: the reason if there was no answer.
    """
    event, endpoint = delivery.event, delivery.endpoint
    return AttemptRecord(
        event_id=event["id"],
        type=thin_type(event) if delivery.is_thin else event["type"],
        endpoint_id=endpoint["id"],
        url=delivery.url,
        attempt=delivery.attempts,
        status=status,
        body=body[:_MAX_BODY],
        error=error,
        at=at,
    )
