"""Configurations and sessions of the billing portal.

https://docs.stripe.com/api/customer_portal/configurations
https://docs.stripe.com/api/customer_portal/sessions
"""

from collections.abc import Mapping
from typing import Any

from ..api import params as p
from ..api.documented import accept, changes_of
from ..api.lists import LIST_FIELDS, page
from ..api.routes import Route
from ..engine.backend import Backend
from ..engine.errors import bad_request
from ..shapes import portal as shapes
from ..shapes.objects import Object

_TOGGLE = p.hash_of({"enabled": p.boolean}, required=["enabled"])
_FEATURES = p.hash_of(
    {
        "customer_update": p.hash_of(
            {
                "enabled": p.boolean,
                "allowed_updates": p.list_of(
                    p.choice("address", "email", "name", "phone", "shipping", "tax_id")
                ),
            },
            required=["enabled"],
        ),
        "invoice_history": _TOGGLE,
        "payment_method_update": _TOGGLE,
        "subscription_cancel": p.hash_of(
            {"enabled": p.boolean, "mode": p.choice("at_period_end", "immediately")},
            required=["enabled"],
        ),
    }
)
_FIELDS: p.Fields = {"features": _FEATURES, "login_page": _TOGGLE}
_CREATE = accept("POST /v1/billing_portal/configurations", _FIELDS)
_UPDATE = accept("POST /v1/billing_portal/configurations/{id}", _FIELDS)
_LIST = accept("GET /v1/billing_portal/configurations", LIST_FIELDS)
_SESSION = accept("POST /v1/billing_portal/sessions", {"customer": p.string})


class BillingPortal:
    """The API's operations on configurations and sessions of the billing portal."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def create_configuration(self, raw: Mapping[str, Any]) -> Object:
        """Create a configuration; the first one is the default."""
        values = p.read(raw, _CREATE, required=["features"])
        first = not any(self._backend.store.of_kind("billing_portal.configuration"))
        configuration = shapes.configuration(self._backend.ids.new("bpc"), self._backend.now())
        configuration["is_default"] = first
        configuration.update(self._changes(configuration, values))
        return self._backend.create(configuration, "billing_portal.configuration.created")

    def update_configuration(self, raw: Mapping[str, Any], id: str) -> Object:
        """Update a configuration."""
        values = p.read(raw, _UPDATE)
        configuration = self._backend.store.get("billing_portal.configuration", id)
        changes = {**self._changes(configuration, values), "updated": self._backend.now()}
        return self._backend.update(configuration, changes, "billing_portal.configuration.updated")

    def retrieve_configuration(self, raw: Mapping[str, Any], id: str) -> Object:
        """Return a configuration."""
        p.read(raw, {"expand": p.list_of(p.string)})
        return self._backend.store.get("billing_portal.configuration", id)

    def list_configurations(self, raw: Mapping[str, Any]) -> Object:
        """Return a page of configurations."""
        values = p.read(raw, _LIST)
        rows = (
            configuration
            for configuration in self._backend.store.of_kind("billing_portal.configuration")
            if all(
                n not in values or configuration[n] == values[n] for n in ("active", "is_default")
            )
        )
        return page(rows, values, "/v1/billing_portal/configurations")

    def create_session(self, raw: Mapping[str, Any]) -> Object:
        """Create a session of a customer; its URL is a page of the sandbox."""
        values = p.read(raw, _SESSION, required=["customer"])
        store, ids = self._backend.store, self._backend.ids
        customer = store.get("customer", values["customer"], "customer")
        if values.get("configuration"):
            kind, configuration_id = "billing_portal.configuration", values["configuration"]
            configuration = store.get(kind, configuration_id, "configuration")
        else:
            configuration = self._default()
        session_id = ids.new("bps")
        portal_session = shapes.portal_session(
            session_id,
            configuration["id"],
            customer["id"],
            f"{self._backend.url}/sandbox/portal/{session_id}",
            self._backend.now(),
        )
        portal_session["return_url"] = configuration["default_return_url"]
        portal_session.update(changes_of(portal_session, values))
        return self._backend.create(portal_session, "billing_portal.session.created")

    def routes(self) -> list[Route]:
        """Return the routes of the billing portal."""
        path = "/v1/billing_portal/configurations"
        return [
            Route("POST", path, self.create_configuration),
            Route("GET", path, self.list_configurations),
            Route("GET", path + "/{id}", self.retrieve_configuration),
            Route("POST", path + "/{id}", self.update_configuration),
            Route("POST", "/v1/billing_portal/sessions", self.create_session),
        ]

    def _default(self) -> Object:
        for configuration in self._backend.store.of_kind("billing_portal.configuration"):
            if configuration["is_default"]:
                return configuration
        raise bad_request(
            "You can't create a portal session in test mode until you save your customer portal "
            "settings in test mode at https://dashboard.stripe.com/test/settings/billing/portal."
        )

    def _changes(self, configuration: Object, values: Mapping[str, Any]) -> dict[str, Any]:
        changes = changes_of(configuration, values)
        if values.get("login_page"):
            enabled = values["login_page"]["enabled"]
            path = f"/sandbox/portal/login/{configuration['id']}"
            url = self._backend.url + path if enabled else None
            changes["login_page"] = {"enabled": enabled, "url": url}
        return changes
