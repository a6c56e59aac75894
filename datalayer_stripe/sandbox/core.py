"""State of a local Stripe, and calls to its API within the process.

https://docs.stripe.com/sandboxes describes Stripe's own sandboxes, which need an account and a
network.
"""

import copy
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .api.dispatcher import ApiDispatcher
from .api.faults import ApiFaults
from .api.forms import encode
from .delivery.webhooks import DEFAULT_SCHEDULE, DEFAULT_TIMEOUT, Webhooks
from .engine.backend import Backend
from .engine.clock import Clock
from .engine.errors import StripeError
from .resources.registry import Resources
from .shapes.objects import Object


@dataclass(frozen=True)
class Shopfront:
    """The shop that uses the sandbox, as the panel shows it.

    Attributes:
        name: the text of the panel's link to the shop.
        url: the URL of the shop's page.
        facts: returns what to show next to the link, such as `{"Balance": "50 credits"}`; called
            once per second.
    """

    name: str
    url: str
    facts: Callable[[], Awaitable[dict[str, str]]]


class SandboxCore:
    """The state of a local Stripe, and calls to its API within the process.

    Attributes:
        backend: the objects, events, clock and identifiers.
        dispatcher: runs the operations of the API.
        webhooks: delivers the events, and simulates delivery faults.
        shop: the shop that the panel shows and links to; None if there is none.

    Args:
        secret_key: the secret API key; None generates a random one.
        publishable_key: the key that may retrieve and confirm intents by client secret; None
            generates a random one.
        clock: returns the time in epoch seconds.
        seed: makes identifiers reproducible.
        retry_schedule: seconds before each retry of a delivery.
        webhook_timeout: seconds within which an endpoint must answer.
        remote_webhooks: whether a webhook endpoint may be on another machine.
    """

    def __init__(
        self,
        secret_key: str | None = None,
        publishable_key: str | None = None,
        clock: Callable[[], float] = time.time,
        *,
        seed: int | None = None,
        retry_schedule: Sequence[float] = DEFAULT_SCHEDULE,
        webhook_timeout: float = DEFAULT_TIMEOUT,
        remote_webhooks: bool = False,
    ) -> None:
        self.backend = Backend(clock, seed)
        self._resources = Resources(self.backend, remote_webhooks=remote_webhooks)
        self.dispatcher = ApiDispatcher(
            self.backend,
            self._resources.routes(),
            secret_key or f"sk_test_{secrets.token_hex(16)}",
            publishable_key or f"pk_test_{secrets.token_hex(16)}",
        )
        self.webhooks = Webhooks(
            self.backend,
            self._resources.webhook_endpoints,
            self._resources.event_destinations,
            schedule=retry_schedule,
            timeout=webhook_timeout,
        )
        self.shop: Shopfront | None = None

    @property
    def url(self) -> str:
        """The sandbox's base URL, such as `http://127.0.0.1:40123`; empty before `start`."""
        return self.backend.url

    @property
    def clock(self) -> Clock:
        """The sandbox's clock; `clock.advance(seconds)` moves it forward."""
        return self.backend.clock

    @property
    def api(self) -> ApiFaults:
        """The simulated faults of the API, and the record of the requests to it."""
        return self.dispatcher.faults

    @property
    def events(self) -> list[Object]:
        """All events, oldest first."""
        return self.backend.events

    @property
    def objects(self) -> list[Object]:
        """Copies of all objects except events, in the order of their creation."""
        return copy.deepcopy([obj for obj in self.backend.store if obj["object"] != "event"])

    @property
    def secret_key(self) -> str:
        """The secret API key."""
        return self.dispatcher.secret_key

    @property
    def publishable_key(self) -> str:
        """The API key for browsers."""
        return self.dispatcher.publishable_key

    def call(self, method: str, path: str, **params: Any) -> Object:
        """Run an operation of the API in this process, as with the secret key.

        Args:
            method: the HTTP method.
            path: the URL's path, such as `/v1/prices`.
            params: the parameters, as Python values.

        Raises:
            StripeError: the API answers with an error.
        """
        match = self.dispatcher.router.match(method, path)
        if match is None:
            raise StripeError(404, f"Unrecognized request URL ({method}: {path}).")
        return self.dispatcher.run(match, encode(params))

    def get(self, object_id: str) -> Object:
        """Return a copy of an object.

        Raises:
            KeyError: there is no object with this identifier.
        """
        return copy.deepcopy(self._find(object_id))

    def has(self, object_id: str) -> bool:
        """Return whether there is an object with this identifier."""
        return self.backend.store.find(object_id) is not None

    def put(self, obj: Object) -> Object:
        """Store a Stripe object unchanged, such as a recorded one."""
        return self.backend.store.put(copy.deepcopy(obj))

    def put_event(self, event: Object) -> Object:
        """Store an event unchanged, without sending it; `webhooks.deliver` sends it."""
        stored = self.put(event)
        self.backend.events.append(stored)
        return stored

    def _find(self, object_id: str) -> Object:
        found = self.backend.store.find(object_id)
        if found is None:
            raise KeyError(object_id)
        return found
