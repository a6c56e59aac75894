"""HTTP client of the demo: calls the service as the demo's account, and the local Stripe."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tornado.httpclient import AsyncHTTPClient, HTTPError

from ..errors import NoResponse
from ..handlers.urls import WEBHOOK_PATH
from .environment import DemoEnvironment

REQUEST_TIMEOUT = 20.0
"""In seconds."""

_CLIENT_TIMEOUT_STATUS = 599  # Tornado's status for "no response"


@dataclass(frozen=True)
class Response:
    """HTTP status and fields of the JSON body. `fields` is empty if the body is not JSON."""

    status: int
    fields: dict[str, Any]

    def summary(self, *names: str) -> str:
        """Return the status and the named fields as text, such as `201 amount=500`.

        Args:
            *names: The fields to include, where present. An error's `code` is always included.
        """
        wanted = ("code", *names) if self.status >= 400 else names
        found = {**self.fields, **self.fields.get("error", {})}
        return " ".join([str(self.status), *(f"{n}={found[n]}" for n in wanted if n in found)])


class DemoClient:
    """Client of a running demo.

    Calls the service with the demo account's token, and the local Stripe with the publishable key.
    Every method raises NoResponse if a server does not respond. An error status does not raise.
    """

    def __init__(self, environment: DemoEnvironment) -> None:
        self._url = environment.url
        self._stripe_url = environment.sandbox.url
        self._publishable_key = environment.sandbox.publishable_key
        self._token = environment.token
        self._http = AsyncHTTPClient(force_instance=True)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    async def get(self, path: str) -> Response:
        """GET a route of the service.

        Args:
            path: The path of the route, with its prefix of `handlers/urls.py`.
        """
        return await self._fetch("GET", self._url + path, Authorization=f"Bearer {self._token}")

    async def post(self, path: str, **fields: Any) -> Response:
        """POST a JSON object to a route of the service.

        Args:
            path: The path of the route.
            **fields: The fields of the JSON object.
        """
        return await self._fetch(
            "POST",
            self._url + path,
            json.dumps(fields),
            Authorization=f"Bearer {self._token}",
            **{"Content-Type": "application/json"},
        )

    async def post_forged_event(self, **event: Any) -> Response:
        """POST an event with an invalid signature to the webhook.

        Args:
            **event: The fields of the event.
        """
        return await self._fetch(
            "POST",
            self._url + WEBHOOK_PATH,
            json.dumps(event),
            **{"Stripe-Signature": "t=1,v1=00"},
        )

    async def confirm_payment(self, client_secret: str, card: str) -> Response:
        """Confirm a PaymentIntent at the local Stripe, as Stripe.js does.

        Args:
            client_secret: The PaymentIntent's client secret.
            card: A test PaymentMethod, such as `pm_card_visa`: https://docs.stripe.com/testing
        """
        intent_id = client_secret.partition("_secret_")[0]
        return await self._fetch(
            "POST",
            f"{self._stripe_url}/v1/payment_intents/{intent_id}/confirm",
            urlencode({"client_secret": client_secret, "payment_method": card}),
            Authorization=f"Bearer {self._publishable_key}",
            **{"Content-Type": "application/x-www-form-urlencoded"},
        )

    async def control_sandbox(self, control: str, **arguments: Any) -> Response:
        """Call a control of the local Stripe.

        Args:
            control: The name of the control, such as `renew`.
            **arguments: The arguments of the control.
        """
        return await self._fetch(
            "POST",
            f"{self._stripe_url}/sandbox/{control}",
            json.dumps(arguments),
            **{"Content-Type": "application/json"},
        )

    async def list_deliveries(self) -> list[dict[str, Any]]:
        """Return all delivery attempts of the local Stripe, oldest first."""
        response = await self._fetch("GET", f"{self._stripe_url}/sandbox/deliveries")
        return list(response.fields["attempts"])

    async def _fetch(
        self, method: str, url: str, body: str | None = None, **headers: str
    ) -> Response:
        try:
            response = await self._http.fetch(
                url,
                method=method,
                body=body,
                headers=headers,
                request_timeout=REQUEST_TIMEOUT,
                raise_error=False,
            )
        except (HTTPError, OSError) as error:
            raise NoResponse(f"no response to {method} {url}: {error}") from error
        if response.code == _CLIENT_TIMEOUT_STATUS:
            raise NoResponse(f"no response to {method} {url}: {response.error}")
        is_json = response.headers.get("Content-Type", "").startswith("application/json")
        return Response(response.code, json.loads(response.body) if is_json else {})
