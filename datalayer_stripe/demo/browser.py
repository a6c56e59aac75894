"""What the account's browser does, and what is done to the local Stripe: all of it over HTTP."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tornado.httpclient import AsyncHTTPClient, HTTPError

from ..handlers.urls import WEBHOOK_PATH
from .environment import DemoEnvironment

_SECONDS = 20


class NoAnswer(Exception):
    """Nobody answered; the text says why."""


@dataclass(frozen=True)
class Answer:
    """An HTTP status and the fields of the JSON body; no fields where it is not JSON."""

    status: int
    fields: dict[str, Any]

    def said(self, *names: str) -> str:
        """The status and these fields, for people: `201 amount=500`; of an error, its code too."""
        wanted = ("code", *names) if self.status >= 400 else names
        found = {**self.fields, **self.fields.get("error", {})}
        return " ".join([str(self.status), *(f"{n}={found[n]}" for n in wanted if n in found)])


class Browser:
    """Speaks to the service with the demo account's token, and to the local Stripe.

    Every method raises NoAnswer when nobody answers; errors are answers.
    """

    def __init__(self, stage: DemoEnvironment) -> None:
        self._url = stage.url
        self._stripe_url = stage.sandbox.url
        self._publishable_key = stage.sandbox.publishable_key
        self._token = stage.token
        self._http = AsyncHTTPClient(force_instance=True)

    def close(self) -> None:
        self._http.close()

    async def get(self, path: str) -> Answer:
        """GET a route of the service by its path."""
        return await self._fetch("GET", self._url + path, Authorization=f"Bearer {self._token}")

    async def post(self, path: str, **fields: Any) -> Answer:
        """POST fields to a route of the service."""
        return await self._fetch(
            "POST",
            self._url + path,
            json.dumps(fields),
            Authorization=f"Bearer {self._token}",
            **{"Content-Type": "application/json"},
        )

    async def forge(self, **event: Any) -> Answer:
        """POST an event to the webhook, under a signature that Stripe has not made."""
        return await self._fetch(
            "POST",
            self._url + WEBHOOK_PATH,
            json.dumps(event),
            **{"Stripe-Signature": "t=1,v1=00"},
        )

    async def pay(self, client_secret: str, card: str) -> Answer:
        """Confirm a PaymentIntent as Stripe.js does, with a test card's token.

        docs.stripe.com/testing
        """
        intent_id = client_secret.partition("_secret_")[0]
        return await self._fetch(
            "POST",
            f"{self._stripe_url}/v1/payment_intents/{intent_id}/confirm",
            urlencode({"client_secret": client_secret, "payment_method": card}),
            Authorization=f"Bearer {self._publishable_key}",
            **{"Content-Type": "application/x-www-form-urlencoded"},
        )

    async def sandbox(self, control: str, **arguments: Any) -> Answer:
        """Use a control of the local Stripe, such as `renew`."""
        return await self._fetch(
            "POST",
            f"{self._stripe_url}/sandbox/{control}",
            json.dumps(arguments),
            **{"Content-Type": "application/json"},
        )

    async def deliveries(self) -> list[dict[str, Any]]:
        """All attempts of the local Stripe to deliver an event, oldest first."""
        answer = await self._fetch("GET", f"{self._stripe_url}/sandbox/deliveries")
        return list(answer.fields["attempts"])

    async def _fetch(
        self, method: str, url: str, body: str | None = None, **headers: str
    ) -> Answer:
        try:
            response = await self._http.fetch(
                url,
                method=method,
                body=body,
                headers=headers,
                request_timeout=_SECONDS,
                raise_error=False,
            )
        except (HTTPError, OSError) as error:
            raise NoAnswer(f"no answer to {method} {url}: {error}") from error
        if response.code == 599:
            raise NoAnswer(f"no answer to {method} {url}: {response.error}")
        is_json = response.headers.get("Content-Type", "").startswith("application/json")
        return Answer(response.code, json.loads(response.body) if is_json else {})
