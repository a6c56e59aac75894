"""Send a signed event without effect through the webhook's public URL, and explain the answer.

The event has a type that Stripe does not have and no plugin handles: the service verifies its
signature, answers 200 and stores nothing.
"""

import asyncio
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import SplitResult, urlsplit

from pydantic import SecretStr
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.simple_httpclient import HTTPTimeoutError

from ..clock import Clock, system_clock
from ..stripe_api.transport import STRIPE_VERSION
from .delivery_problems import CHANGED_BODY, NO_TLS, Problem, answer_problem, connection_problem

TEST_EVENT_TYPE = "datalayer_stripe.webhook_test"

TIMEOUT_SECONDS = 20.0
"""Seconds that Stripe waits for an answer. The test waits as long."""

LARGE_BODY_BYTES = 256 * 1024
"""Length of the body of the largest test event. Stripe sends bodies of this length, too."""

_MAX_ANSWER_BYTES = 64 * 1024
_RETRY_SECONDS = 10.0  # between two test events, while the service is restarted


@dataclass(frozen=True)
class Attempt:
    """One request of the test, and its answer.

    Attributes:
        name: What was sent.
        status: The status of the answer, or None if there was none.
        seconds: The time until the answer.
        problem: What is wrong; None if the event was accepted.
        explanation: What is wrong and what to do, in plain words; empty if it was accepted.
    """

    name: str
    status: int | None
    seconds: float
    problem: Problem | None = None
    explanation: str = ""


class RoundTrip:
    """Sends signed test events to one URL. Call :meth:`close` at the end.

    Args:
        url: The URL of the webhook.
        webhook_path: The end of the path that the URL should have.
        livemode: The mode of the secret key.
        clock: Returns the time that the signatures contain.
        timeout: How long to wait for an answer, in seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        webhook_path: str,
        livemode: bool,
        clock: Clock = system_clock,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        self._url = url
        self._webhook_path = webhook_path
        self._livemode = livemode
        self._clock = clock
        self._timeout = timeout
        self._client = AsyncHTTPClient(
            force_instance=True, max_clients=50, max_body_size=_MAX_ANSWER_BYTES
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    async def send(self, secret: SecretStr, name: str = "test event") -> Attempt:
        """Send one small event, signed with a secret.

        Args:
            secret: The signing secret.
            name: What the attempt is called.
        """
        event = self._event()
        return await self._attempt(name, _compact(event), secret, event["id"])

    async def accepts(self, secret: SecretStr, *, times: int) -> Attempt:
        """Send several small events, each on a connection of its own.

        Several processes may serve the URL, and some of them may not know the secret yet.

        Args:
            secret: The signing secret.
            times: How many events.

        Returns:
            The first attempt that was not accepted, or else the last one.
        """
        attempt = await self.send(secret)
        for _ in range(times - 1):
            if attempt.problem:
                break
            attempt = await self.send(secret)
        return attempt

    async def run(self, signing_secrets: Sequence[SecretStr]) -> list[Attempt]:
        """Send a small event for each secret, then one as Stripe formats it, and a large one.

        Args:
            signing_secrets: The secrets that the service should accept.

        Returns:
            The attempts. Without an answer to the first one, it is the only one.
        """
        attempts: list[Attempt] = []
        accepted: SecretStr | None = None
        total = len(signing_secrets)
        for number, secret in enumerate(signing_secrets, start=1):
            name = "test event" if total == 1 else f"test event, secret {number} of {total}"
            attempt = await self.send(secret, name)
            if attempt.problem is Problem.SIGNATURE and await self._is_body_changed(secret):
                attempt = _with(attempt, CHANGED_BODY)
            attempts.append(attempt)
            if attempt.problem not in (None, Problem.SIGNATURE):
                return attempts
            if attempt.problem is None:
                accepted = accepted or secret
        if accepted is not None:
            attempts += await self._send_difficult_bodies(accepted)
        return attempts

    async def _send_difficult_bodies(self, secret: SecretStr) -> list[Attempt]:
        formatted, large = self._event(), self._event()
        large["data"]["object"]["padding"] = "x" * LARGE_BODY_BYTES
        attempts = [
            await self._attempt(
                "as Stripe formats it", _as_stripe(formatted), secret, formatted["id"]
            ),
            await self._attempt(
                f"{LARGE_BODY_BYTES // 1024} KB", _as_stripe(large), secret, large["id"]
            ),
        ]
        # The secret is right: the small event was accepted.
        return [
            _with(one, CHANGED_BODY) if one.problem is Problem.SIGNATURE else one
            for one in attempts
        ]

    async def _is_body_changed(self, secret: SecretStr) -> bool:
        """Return whether the secret is right and the body was changed on the way.

        A body of one digit stays the same if a proxy parses JSON and writes it again.
        """
        answer = await self._attempt("digit", b"1", secret, "")
        return answer.problem is Problem.OTHER_SERVER and answer.status == 400

    async def _attempt(self, name: str, body: bytes, secret: SecretStr, event_id: str) -> Attempt:
        request = HTTPRequest(
            self._url,
            method="POST",
            body=body,
            headers={
                "Content-Type": "application/json; charset=utf-8",
                "Stripe-Signature": sign(body, secret, int(self._clock().timestamp())),
                "User-Agent": "datalayer-stripe webhook test",
            },
            connect_timeout=self._timeout,
            request_timeout=self._timeout,
            follow_redirects=False,
        )
        started = time.perf_counter()
        status, found = None, None
        try:
            response = await self._client.fetch(request, raise_error=False)
        except Exception as error:  # Tornado raises others, too, such as for endless headers
            found = await self._connection_problem(error)
        else:
            if response.code == 599:
                found = await self._connection_problem(response.error)
            else:
                status = response.code
                found = answer_problem(
                    response,
                    event_id,
                    webhook_path=self._webhook_path,
                    livemode=self._livemode,
                )
        attempt = Attempt(name, status, time.perf_counter() - started)
        return _with(attempt, found) if found else attempt

    async def _connection_problem(self, error: BaseException | None) -> tuple[Problem, str]:
        """Return what is wrong if there was no answer, and what to do.

        Tornado before 6.6 does not say whether a host or its TLS was too slow.

        Args:
            error: The error of the HTTP client.
        """
        if isinstance(error, HTTPTimeoutError) and str(error) == "Timeout while connecting":
            url = urlsplit(self._url)
            if url.scheme == "https" and await self._accepts_connections(url):
                return NO_TLS
        return connection_problem(error)

    async def _accepts_connections(self, url: SplitResult) -> bool:
        try:
            async with asyncio.timeout(self._timeout):
                _, writer = await asyncio.open_connection(url.hostname, url.port or 443)
        except OSError:  # TimeoutError is one
            return False
        writer.close()
        return True

    def _event(self) -> dict[str, Any]:
        event_id = f"evt_test_{secrets.token_hex(12)}"
        return {
            "id": event_id,
            "object": "event",
            "api_version": STRIPE_VERSION,
            "created": int(self._clock().timestamp()),
            "data": {"object": {"id": event_id, "object": "webhook_test"}},
            "livemode": self._livemode,
            "pending_webhooks": 1,
            "request": {"id": None, "idempotency_key": None},
            "type": TEST_EVENT_TYPE,
        }


def sign(body: bytes, secret: SecretStr, timestamp: int) -> str:
    """Return a `Stripe-Signature` header: https://docs.stripe.com/webhooks#verify-manually.

    Args:
        body: The body of the request.
        secret: The signing secret.
        timestamp: The present time, in epoch seconds.
    """
    signed = f"{timestamp}.".encode() + body
    digest = hmac.new(secret.get_secret_value().encode(), signed, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


async def wait_until_accepted(
    send: Callable[[], Awaitable[Attempt]],
    *,
    seconds: float,
    sleep: Callable[[float], Awaitable[None]],
) -> Attempt:
    """Send test events until one is accepted or the time is over, and return the last attempt.

    Args:
        send: Sends a test event.
        seconds: How long to try, in seconds. The first attempt is made in any case.
        sleep: Waits for a number of seconds.
    """
    attempt = await send()
    waited = 0.0
    while attempt.problem and waited < seconds:
        await sleep(_RETRY_SECONDS)
        waited += _RETRY_SECONDS
        attempt = await send()
    return attempt


def _compact(event: dict[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


def _as_stripe(event: dict[str, Any]) -> bytes:
    """Return a body with the line breaks of Stripe's, and with characters that are not ASCII."""
    event["data"]["object"]["description"] = "Grüße, 10 € </script> & \u2028"
    return json.dumps(event, indent=2, ensure_ascii=False).encode()


def _with(attempt: Attempt, found: tuple[Problem, str]) -> Attempt:
    problem, explanation = found
    return replace(attempt, problem=problem, explanation=explanation)
