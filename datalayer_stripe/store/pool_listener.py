"""Observe how long calls wait for a connection of a client's pool."""

from pymongo.monitoring import (
    ConnectionCheckedInEvent,
    ConnectionCheckedOutEvent,
    ConnectionCheckOutFailedEvent,
    ConnectionCheckOutStartedEvent,
    ConnectionClosedEvent,
    ConnectionCreatedEvent,
    ConnectionPoolListener,
    ConnectionReadyEvent,
    PoolClearedEvent,
    PoolClosedEvent,
    PoolCreatedEvent,
    PoolReadyEvent,
)

from ..metrics import Metrics, Pool


class PoolListener(ConnectionPoolListener):
    """Listener to the pool of one client, of Motor or of PyMongo's asyncio client.

    The driver calls it in the thread or task of the operation that waits. The driver's base class
    raises an error in each method, so all of them are here.

    https://pymongo.readthedocs.io/en/stable/api/pymongo/monitoring.html

    Args:
        metrics: The metrics of the service.
        pool: The name of the pool in the metrics.
    """

    def __init__(self, metrics: Metrics, pool: Pool) -> None:
        self._wait = metrics.mongodb_pool_wait.labels(pool)
        self._failures = metrics.mongodb_pool_failures.labels(pool)

    def connection_checked_out(self, event: ConnectionCheckedOutEvent) -> None:
        """Measure the wait of an operation that has got a connection."""
        self._wait.observe(event.duration or 0.0)

    def connection_check_out_failed(self, event: ConnectionCheckOutFailedEvent) -> None:
        """Count an operation that gets no connection."""
        self._wait.observe(event.duration or 0.0)
        self._failures.inc()

    def pool_created(self, event: PoolCreatedEvent) -> None:
        """Do nothing."""

    def pool_ready(self, event: PoolReadyEvent) -> None:
        """Do nothing."""

    def pool_cleared(self, event: PoolClearedEvent) -> None:
        """Do nothing."""

    def pool_closed(self, event: PoolClosedEvent) -> None:
        """Do nothing."""

    def connection_created(self, event: ConnectionCreatedEvent) -> None:
        """Do nothing."""

    def connection_ready(self, event: ConnectionReadyEvent) -> None:
        """Do nothing."""

    def connection_closed(self, event: ConnectionClosedEvent) -> None:
        """Do nothing."""

    def connection_check_out_started(self, event: ConnectionCheckOutStartedEvent) -> None:
        """Do nothing."""

    def connection_checked_in(self, event: ConnectionCheckedInEvent) -> None:
        """Do nothing."""
