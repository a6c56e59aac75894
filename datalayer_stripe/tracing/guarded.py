"""Start spans without ever failing: a fault of the configuration of traces stops no work."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    Tracer,
    TracerProvider,
    get_current_span,
    use_span,
)

# A child of the SDK's logger, so that similar messages are logged once in a while.
logger = logging.getLogger(f"opentelemetry.{__name__}")


class GuardedTracerProvider(TracerProvider):
    """Provider of tracers whose spans start without an error.

    Samplers and generators of ids that environment variables name are code of others.

    Args:
        provider: The provider of the SDK.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider

    def get_tracer(self, *args: Any, **options: Any) -> Tracer:
        return _GuardedTracer(self._provider.get_tracer(*args, **options))


class _GuardedTracer(Tracer):
    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def start_span(self, name: str, context: Any = None, *args: Any, **options: Any) -> Span:
        """Return a new span, or one that is not recorded if it cannot be started."""
        try:
            return self._tracer.start_span(name, context, *args, **options)
        except Exception as error:
            logger.error("A span could not be started: %s: %s", type(error).__name__, error)
            return NonRecordingSpan(get_current_span(context).get_span_context())

    @contextmanager
    def start_as_current_span(  # type: ignore[override] # the SDK has its own kind of decorator
        self,
        name: str,
        *args: Any,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
        **options: Any,
    ) -> Iterator[Span]:
        """Start a span, and make it the current one."""
        span = self.start_span(name, *args, **options)
        with use_span(
            span,
            end_on_exit=end_on_exit,
            record_exception=record_exception,
            set_status_on_exception=set_status_on_exception,
        ):
            yield span
