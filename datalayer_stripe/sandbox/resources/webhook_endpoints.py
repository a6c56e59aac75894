"""Webhook endpoints.

https://docs.stripe.com/api/webhook_endpoints
"""

from collections.abc import Mapping
from typing import Any

from ..api import params as p
from ..api.documented import accept, changes_of
from ..api.lists import LIST_FIELDS, page
from ..api.routes import Route
from ..engine.backend import Backend
from ..engine.errors import bad_request
from ..shapes.objects import Object
from .webhook_urls import check_url

# https://docs.stripe.com/webhooks#register-webhook
MAX_ENDPOINTS = 16

_CREATE = accept("POST /v1/webhook_endpoints", {})
_UPDATE = accept("POST /v1/webhook_endpoints/{id}", {})
_LIST = accept("GET /v1/webhook_endpoints", LIST_FIELDS)


class WebhookEndpoints:
    """Webhook endpoints and their signing secrets.

    Args:
        backend: the sandbox's state.
        remote: whether an endpoint may be on another machine. If not, a client of the sandbox
            cannot make it POST to other hosts.
    """

    def __init__(self, backend: Backend, *, remote: bool = False) -> None:
        self._backend = backend
        self._remote = remote
        self._secrets: dict[str, list[str]] = {}

    def create(self, raw: Mapping[str, Any]) -> Object:
        """Create an endpoint; only this answer contains its secret."""
        values = p.read(raw, _CREATE, required=["url", "enabled_events"])
        if len(list(self._backend.store.of_kind("webhook_endpoint"))) >= MAX_ENDPOINTS:
            raise bad_request(
                f"You have reached the maximum of {MAX_ENDPOINTS} test webhook endpoints."
            )
        endpoint = self.add(
            values["url"],
            ["whsec_" + self._backend.ids.token(32)],
            values["enabled_events"],
            values.get("api_version"),
        )
        endpoint.update(changes_of(endpoint, values))
        return {**endpoint, "secret": self.secrets(endpoint)[0]}

    def add(
        self, url: str, secrets: list[str], enabled_events: list[str], api_version: str | None
    ) -> Object:
        """Add an endpoint with given secrets.

        Args:
            url: where events are POSTed.
            secrets: `whsec_…`; each of them signs.
            enabled_events: event types, or `*` for all.
            api_version: decides the shape of its events; None: the current one.

        Raises:
            StripeError: the URL is not allowed.
        """
        check_url(url, remote=self._remote)
        endpoint: Object = {
            "id": self._backend.ids.new("we"),
            "object": "webhook_endpoint",
            "api_version": api_version,
            "application": None,
            "created": self._backend.now(),
            "description": None,
            "enabled_events": list(enabled_events),
            "livemode": False,
            "metadata": {},
            "status": "enabled",
            "url": url,
        }
        self._secrets[endpoint["id"]] = list(secrets)
        return self._backend.store.put(endpoint)

    def is_enabled(self, endpoint: Object) -> bool:
        """Return whether an endpoint exists and is enabled. Otherwise Stripe sends it nothing."""
        found = self._backend.store.find(endpoint["id"])
        return found is not None and found["status"] == "enabled"

    def secrets(self, endpoint: Object) -> list[str]:
        """Return the active secrets of an endpoint; several while a secret is being rolled."""
        return self._secrets[endpoint["id"]]

    def subscribed_to(self, event: Object) -> list[Object]:
        """Return the enabled endpoints that are subscribed to an event's type, oldest first."""
        endpoints = [
            endpoint
            for endpoint in self._backend.store.of_kind("webhook_endpoint")
            if endpoint["status"] == "enabled"
            and {"*", event["type"]} & set(endpoint["enabled_events"])
        ]
        return endpoints[::-1]

    def retrieve(self, raw: Mapping[str, Any], id: str) -> Object:
        """Return an endpoint."""
        p.read(raw, {"expand": p.list_of(p.string)})
        return self._backend.store.get("webhook_endpoint", id)

    def update(self, raw: Mapping[str, Any], id: str) -> Object:
        """Update, enable or disable an endpoint."""
        values = p.read(raw, _UPDATE)
        endpoint = self._backend.store.get("webhook_endpoint", id)
        for name in ("url", "enabled_events"):
            if name in values and not values[name]:
                raise p.empty(name)
        if "url" in values:
            check_url(values["url"], remote=self._remote)
        changes = changes_of(endpoint, values)
        if "disabled" in values:
            changes["status"] = "disabled" if values["disabled"] else "enabled"
        return self._backend.update(endpoint, changes)

    def delete(self, raw: Mapping[str, Any], id: str) -> Object:
        """Delete an endpoint."""
        p.read(raw, {})
        self._backend.store.remove(self._backend.store.get("webhook_endpoint", id))
        return {"id": id, "object": "webhook_endpoint", "deleted": True}

    def list_all(self, raw: Mapping[str, Any]) -> Object:
        """Return a page of endpoints."""
        values = p.read(raw, _LIST)
        rows = self._backend.store.of_kind("webhook_endpoint")
        return page(rows, values, "/v1/webhook_endpoints")

    def routes(self) -> list[Route]:
        """Return the routes of webhook endpoints."""
        path = "/v1/webhook_endpoints"
        return [
            Route("POST", path, self.create),
            Route("GET", path, self.list_all),
            Route("GET", path + "/{id}", self.retrieve),
            Route("POST", path + "/{id}", self.update),
            Route("DELETE", path + "/{id}", self.delete),
        ]
