"""Callbacks for the outcomes of deliveries, plugin runs and deferred jobs.

The demo, the test kit and `plugins check` learn outcomes here rather than from the log.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..events import Event
from .outcome import Outcome

logger = logging.getLogger(__name__)


class Observer:
    """Base class of observers: override the methods that you need.

    The methods are called in the event loop of the service, after the effects are durable. They
    must return quickly. An error that they raise is logged and changes nothing else.
    """

    def on_delivery(self, event: Event, outcome: Outcome) -> None:
        """Handle the end of a delivery, or of an event that was fetched because it was missed.

        It is not called if the database did not answer or too many deliveries were in flight: then
        the delivery has no outcome.
        """

    def on_run(
        self, plugin_name: str, event: Event, outcome: Outcome, error: Exception | None
    ) -> None:
        """Handle the end of one plugin's run, in a delivery or a deferred job.

        Args:
            plugin_name: The name of the plugin.
            event: The event that it ran on.
            outcome: How the run ended.
            error: What the plugin raised, `Reject` and `Retry` included; None if it returned.
        """

    def on_job(self, plugin_name: str, event: Event, outcome: Outcome, attempts: int) -> None:
        """Handle the end of one attempt of a deferred job.

        Args:
            plugin_name: The name of the plugin.
            event: The event that it ran on.
            outcome: How the attempt ended.
            attempts: The number of attempts so far, with this one.
        """


class Observers:
    """The observers of one service."""

    def __init__(self) -> None:
        self._observers: list[Observer] = []

    @contextmanager
    def observed_by(self, observer: Observer) -> Iterator[None]:
        """Call the observer for everything that ends while the context is open."""
        self._observers.append(observer)
        try:
            yield
        finally:
            self._observers.remove(observer)

    def delivery_ended(self, event: Event, outcome: Outcome) -> None:
        """Call `on_delivery` of all observers."""
        self._notify(lambda observer: observer.on_delivery(event, outcome))

    def run_ended(
        self, plugin_name: str, event: Event, outcome: Outcome, error: Exception | None
    ) -> None:
        """Call `on_run` of all observers."""
        self._notify(lambda observer: observer.on_run(plugin_name, event, outcome, error))

    def job_ended(self, plugin_name: str, event: Event, outcome: Outcome, attempts: int) -> None:
        """Call `on_job` of all observers."""
        self._notify(lambda observer: observer.on_job(plugin_name, event, outcome, attempts))

    def _notify(self, call: Callable[[Observer], None]) -> None:
        for observer in tuple(self._observers):
            try:
                call(observer)
            except Exception:
                logger.exception("observer failed")
