"""The spans of the service's own work: runs of plugins, commits and deferred jobs."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext


class RunSpan:
    """The span of one run of a plugin. This one records nothing."""

    def end(self, outcome: str, error: Exception | None = None) -> None:
        """Record how the run ended.

        Args:
            outcome: The value of an :class:`.Outcome`.
            error: What the plugin raised, or None.
        """


class CommitSpan:
    """The span of one unit of work that waits for its commit. This one records nothing."""


_NO_RUN = nullcontext(RunSpan())
_NO_COMMIT = nullcontext(CommitSpan())
_NO_TRANSACTION = nullcontext()


class Tracer:
    """Tracer that records nothing. :class:`.spans.OpenTelemetryTracer` records spans."""

    def plugin_run(
        self,
        plugin_name: str,
        event_id: str,
        event_type: str,
    ) -> AbstractContextManager[RunSpan]:
        """Record a run of a plugin in a delivery, a replay or a reconciliation.

        Args:
            plugin_name: The plugin.
            event_id: The event that it runs on.
            event_type: The type of the event.
        """
        return _NO_RUN

    def job(
        self,
        plugin_name: str,
        event_id: str,
        event_type: str,
        traceparent: str | None,
    ) -> AbstractContextManager[RunSpan]:
        """Record one attempt of a deferred job, in a trace of its own.

        Args:
            plugin_name: The plugin.
            event_id: The event that it runs on.
            event_type: The type of the event.
            traceparent: What :meth:`traceparent` has returned in the delivery, which is linked.
        """
        return _NO_RUN

    def commit(self) -> AbstractContextManager[CommitSpan]:
        """Record that a unit of work waits for its commit."""
        return _NO_COMMIT

    def transaction(
        self,
        commits: Sequence[CommitSpan],
        name: str = "transaction",
    ) -> AbstractContextManager[None]:
        """Record a transaction that several units share.

        It is a part of the trace of the oldest unit that is traced. The other units link to it, and
        it links to them.

        Args:
            commits: What :meth:`commit` has yielded for each unit, the oldest first.
            name: The name of the span.
        """
        return _NO_TRANSACTION

    def traceparent(self) -> str | None:
        """Return the current span as in a header `traceparent`, or None if there is none.

        https://www.w3.org/TR/trace-context/#traceparent-header
        """
        return None

    async def stop(self, *, seconds: float) -> None:
        """Send what was not sent yet.

        Args:
            seconds: The time after which the rest is lost.
        """


NO_TRACER = Tracer()
