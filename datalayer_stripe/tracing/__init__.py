"""Traces with OpenTelemetry, which are off unless an `OTEL_*` variable configures an exporter.

Only :mod:`.spans`, :mod:`.export` and :mod:`.guarded` import `opentelemetry`, and only a process
that sends traces imports them.
"""

from .environment import tracing
from .tracer import NO_TRACER, CommitSpan, RunSpan, Tracer

__all__ = ["NO_TRACER", "CommitSpan", "RunSpan", "Tracer", "tracing"]
