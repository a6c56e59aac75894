"""Customer sessions, which let Stripe's components in the browser act for a customer.

https://docs.stripe.com/api/customer_sessions
"""

from collections.abc import Mapping
from typing import Any

from ..api import params as p
from ..api.documented import accept, changes_of
from ..api.routes import Route
from ..engine.backend import Backend
from ..engine.errors import invalid
from ..shapes import customer_sessions as shapes
from ..shapes.objects import Object

_CREATE = accept("POST /v1/customer_sessions", {"customer": p.string})


class CustomerSessions:
    """The API's operations on customer sessions. Stripe does not let anyone retrieve one."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def create(self, raw: Mapping[str, Any]) -> Object:
        """Create a session of a customer, with at least one enabled component."""
        values = p.read(raw, _CREATE, required=["components", "customer"])
        customer = self._backend.store.get("customer", values["customer"], "customer")
        secret = f"cuss_secret_{self._backend.ids.token(40)}"
        session = shapes.customer_session(customer["id"], secret, self._backend.now())
        session.update(changes_of(session, values))
        if not any(component["enabled"] for component in session["components"].values()):
            raise invalid("At least one component must be enabled.", param="components")
        for name, features in shapes.FEATURES.items():
            component = session["components"][name]
            if component["enabled"]:
                component["features"] = {**features, **(component["features"] or {})}
        return session

    def routes(self) -> list[Route]:
        """Return the routes of customer sessions."""
        return [Route("POST", "/v1/customer_sessions", self.create)]
