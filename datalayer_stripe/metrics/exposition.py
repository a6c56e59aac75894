"""The text that Prometheus reads."""

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST

CACHE_SECONDS = 1.0
"""How long the text is cached.

Creating it blocks the event loop for about 15 ms, and the route may be public.
"""


class Exposition:
    """Text of the metrics of a registry.

    Args:
        registry: The registry.
        monotonic: Returns the time of a monotonic clock, in seconds.
    """

    def __init__(
        self, registry: CollectorRegistry, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._registry = registry
        self._monotonic = monotonic
        self._text = b""
        self._created_at = float("-inf")

    def text(self) -> bytes:
        """Return the metrics in the text format of Prometheus. They may be CACHE_SECONDS old."""
        now = self._monotonic()
        if now - self._created_at >= CACHE_SECONDS:
            self._text, self._created_at = generate_latest(self._registry), now
        return self._text
