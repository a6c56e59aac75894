"""Put a gate for faults in front of a store and of a Stripe client.

A commit is one call of the store: that it commits all writes or none is tested elsewhere.
"""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, cast

import stripe

from ..errors import StoreUnavailable, StripeUnavailable
from ..store import Store
from ..stripe_api.client import StripeClient
from .faults import CallGate, MakeError, When


def gated_store(store: Store, gate: CallGate) -> Store:
    """Return the store with all its calls through a gate. Its `close` leaves the store open."""
    return cast("Store", _Gated(store, gate, "", lambda _: StoreUnavailable()))


def gated_stripe(client: StripeClient, gate: CallGate) -> StripeClient:
    """Return Stripe's client with all its calls through a gate."""
    return cast("StripeClient", _Gated(client, gate, "stripe.", lambda _: StripeUnavailable()))


def _sdk_error(_: When) -> Exception:
    """Return what the Stripe SDK raises when Stripe does not answer."""
    return stripe.APIConnectionError("fault injected by the test kit")  # type: ignore[no-untyped-call]


class _Gated:
    """Proxy of an object and of its parts: each coroutine function is a call through a gate."""

    def __init__(self, target: Any, gate: CallGate, prefix: str, make_error: MakeError) -> None:
        self._target = target
        self._gate = gate
        self._prefix = prefix
        self._make_error = make_error

    async def close(self) -> None:
        """Leave the target open: several processes share it."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if name.startswith("_"):
            return found  # Code that bypasses the parts, such as a test, has no calls.
        if inspect.iscoroutinefunction(found):
            return self._gated_call(self._prefix + name, found)
        module = type(found).__module__
        if module.startswith(f"{stripe.__name__}."):
            # Code that calls Stripe through the SDK must get the SDK's own errors.
            return _Gated(found, self._gate, f"{self._prefix}{name}.", _sdk_error)
        if module.startswith(f"{Store.__module__.rpartition('.')[0]}."):
            return _Gated(found, self._gate, f"{self._prefix}{name}.", self._make_error)
        return found

    def _gated_call(self, name: str, work: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        async def call(*args: Any, **options: Any) -> Any:
            return await self._gate.call(name, lambda: work(*args, **options), self._make_error)

        return call
