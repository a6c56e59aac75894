"""Event destinations, which receive thin events at a URL.

https://docs.stripe.com/api/v2/core/event-destinations
"""

from collections.abc import Mapping
from typing import Any

from ..api import params as p
from ..api.routes import Route
from ..engine.backend import Backend
from ..engine.errors import StripeError, bad_request
from ..engine.store import merge_metadata
from ..shapes.objects import Object
from ..shapes.thin_events import thin_type, timestamp
from .webhook_urls import check_url

KIND = "v2.core.event_destination"

_PATH = "/v2/core/event_destinations"
_MAX_DESTINATIONS = 16
_URL, _SECRET = "webhook_endpoint.url", "webhook_endpoint.signing_secret"
_INCLUDE: p.Fields = {"include": p.list_of(p.choice(_URL))}
_UPDATE_FIELDS: p.Fields = {
    **_INCLUDE,
    "description": p.string,
    "enabled_events": p.list_of(p.string),
    "metadata": p.metadata,
    "name": p.string,
    "webhook_endpoint": p.hash_of({"url": p.string}, required=["url"]),
}
_CREATE_FIELDS: p.Fields = {
    **_UPDATE_FIELDS,
    "include": p.list_of(p.choice(_URL, _SECRET)),
    "event_payload": p.choice("thin"),
    "events_from": p.list_of(p.choice("@self")),
    "type": p.choice("webhook_endpoint"),
}


class EventDestinations:
    """Event destinations for thin events, and their signing secrets.

    For snapshot events there are webhook endpoints.

    Args:
        backend: the sandbox's state.
        remote: whether a destination may be on another machine.
    """

    def __init__(self, backend: Backend, *, remote: bool = False) -> None:
        self._backend = backend
        self._remote = remote
        self._secrets: dict[str, list[str]] = {}

    def create(self, raw: Mapping[str, Any]) -> Object:
        """Create a destination. Only this answer can include its secret."""
        required = ["enabled_events", "event_payload", "name", "type", "webhook_endpoint"]
        values = p.read(raw, _CREATE_FIELDS, required=required)
        if len(list(self._backend.store.of_kind(KIND))) >= _MAX_DESTINATIONS:
            raise bad_request(f"You can create up to {_MAX_DESTINATIONS} event destinations.")
        destination = self.add(
            values["webhook_endpoint"]["url"],
            ["whsec_" + self._backend.ids.token(32)],
            values["enabled_events"],
            name=values["name"],
        )
        destination["description"] = values.get("description") or ""
        destination["metadata"] = merge_metadata({}, values.get("metadata", {}))
        return self._answer(destination, values)

    def add(self, url: str, secrets: list[str], enabled_events: list[str], *, name: str) -> Object:
        """Add a destination with given secrets.

        Args:
            url: where thin events are POSTed.
            secrets: `whsec_…`; each of them signs.
            enabled_events: types of thin events such as `v1.price.created`, or `*` for all.
            name: its name.

        Raises:
            StripeError: the URL is not allowed.
        """
        check_url(url, remote=self._remote, param="webhook_endpoint[url]")
        now = timestamp(self._backend.clock())
        destination: Object = {
            "id": self._backend.ids.new("ed_test"),
            "object": KIND,
            "amazon_eventbridge": None,
            "azure_event_grid": None,
            "created": now,
            "description": "",
            "enabled_events": list(enabled_events),
            "event_payload": "thin",
            "events_from": ["@self"],
            "livemode": False,
            "metadata": {},
            "name": name,
            "snapshot_api_version": None,
            "status": "enabled",
            "status_details": None,
            "type": "webhook_endpoint",
            "updated": now,
            "webhook_endpoint": {"signing_secret": None, "url": url},
        }
        self._secrets[destination["id"]] = list(secrets)
        return self._backend.store.put(destination)

    def secrets(self, destination: Object) -> list[str]:
        """Return the active secrets of a destination."""
        return self._secrets[destination["id"]]

    def subscribed_to(self, event: Object) -> list[Object]:
        """Return the enabled destinations of a snapshot event's thin event, oldest first."""
        destinations = [
            destination
            for destination in self._backend.store.of_kind(KIND)
            if destination["status"] == "enabled"
            and {"*", thin_type(event)} & set(destination["enabled_events"])
        ]
        return destinations[::-1]

    def retrieve(self, raw: Mapping[str, Any], id: str) -> Object:
        """Return a destination."""
        return self._answer(self._get(id), p.read(raw, _INCLUDE))

    def update(self, raw: Mapping[str, Any], id: str) -> Object:
        """Update a destination."""
        values = p.read(raw, _UPDATE_FIELDS)
        destination = self._get(id)
        changes = {name: value for name, value in values.items() if name != "include"}
        if "webhook_endpoint" in changes:
            url = changes["webhook_endpoint"]["url"]
            check_url(url, remote=self._remote, param="webhook_endpoint[url]")
            changes["webhook_endpoint"] = {"signing_secret": None, "url": url}
        if "metadata" in changes:
            changes["metadata"] = merge_metadata(destination["metadata"], changes["metadata"])
        return self._answer(self._change(destination, changes), values)

    def enable(self, raw: Mapping[str, Any], id: str) -> Object:
        """Send thin events to a destination again."""
        values = p.read(raw, _INCLUDE)
        changes = {"status": "enabled", "status_details": None}
        return self._answer(self._change(self._get(id), changes), values)

    def disable(self, raw: Mapping[str, Any], id: str) -> Object:
        """Stop sending thin events to a destination."""
        values = p.read(raw, _INCLUDE)
        changes = {"status": "disabled", "status_details": {"disabled": {"reason": "user"}}}
        return self._answer(self._change(self._get(id), changes), values)

    def delete(self, raw: Mapping[str, Any], id: str) -> Object:
        """Delete a destination."""
        p.read(raw, {})
        self._backend.store.remove(self._get(id))
        return {"id": id, "object": KIND}

    def list_all(self, raw: Mapping[str, Any]) -> Object:
        """Return all destinations on one page: there are at most 16."""
        values = p.read(raw, {**_INCLUDE, "limit": p.integer})
        rows = [self._answer(row, values) for row in self._backend.store.of_kind(KIND)]
        return {"data": rows, "next_page_url": None, "previous_page_url": None}

    def _get(self, destination_id: str) -> Object:
        try:
            return self._backend.store.get(KIND, destination_id)
        except StripeError:
            raise not_found("event destination", destination_id) from None

    def _change(self, destination: Object, changes: dict[str, Any]) -> Object:
        updated = {"updated": timestamp(self._backend.clock())}
        return self._backend.update(destination, changes | updated)

    def _answer(self, destination: Object, values: Mapping[str, Any]) -> Object:
        """Return a destination with those fields of its webhook endpoint that are included."""
        include = values.get("include") or []
        url = destination["webhook_endpoint"]["url"] if _URL in include else None
        secret = self._secrets[destination["id"]][0] if _SECRET in include else None
        return {**destination, "webhook_endpoint": {"signing_secret": secret, "url": url}}

    def routes(self) -> list[Route]:
        """Return the routes of event destinations."""
        return [
            Route("POST", _PATH, self.create),
            Route("GET", _PATH, self.list_all),
            Route("GET", _PATH + "/{id}", self.retrieve),
            Route("POST", _PATH + "/{id}", self.update),
            Route("DELETE", _PATH + "/{id}", self.delete),
            Route("POST", _PATH + "/{id}/enable", self.enable),
            Route("POST", _PATH + "/{id}/disable", self.disable),
        ]


def not_found(what: str, object_id: str) -> StripeError:
    """Return the error of the API v2 for an object that does not exist.

    Args:
        what: the kind of the object, in words.
        object_id: the identifier in the request.
    """
    return StripeError(404, f"No such {what}: '{object_id}'", code="not_found")
