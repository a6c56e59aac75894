"""Export spans without secrets and personal data, and log repeated failures once in a while."""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Status

from ..redaction import redact

logger = logging.getLogger(__name__)

REPORT_SECONDS = 600.0
"""Messages of the SDK that are alike are logged once in this time."""

# The names before and after the semantic conventions of 2023, and those of OTEL_INSTRUMENTATION_
# HTTP_CAPTURE_HEADERS_…, with which an operator may ask for headers.
_URLS = frozenset({"http.url", "http.target", "url.full", "url.path"})
_LEFT_OUT = frozenset(
    {
        "url.query",
        *("http.host", "http.user_agent", "user_agent.original"),
        *("http.client_ip", "net.peer.ip", "client.address", "network.peer.address"),
        *("http.request.header.authorization", "http.request.header.cookie"),
        *("http.request.header.stripe_signature", "http.response.header.set_cookie"),
    }
)

# Of a request that the service receives, these are the header `Host`. Of one that it sends, and of
# a command to MongoDB, they are the address that is configured.
_LEFT_OUT_OF_REQUESTS = _LEFT_OUT | {"server.address", "server.port"}


class ServiceSpanProcessor(BatchSpanProcessor):
    """Processor that queues spans, and exports them in a thread of its own.

    A command to MongoDB and a request to Stripe are left out unless they are part of a trace: those
    of periodic tasks would be traces of one span each, several in a second.

    Args:
        exporter: What sends the spans.
        options: Keyword arguments of :class:`BatchSpanProcessor`.
    """

    def __init__(self, exporter: SpanExporter, **options: Any) -> None:
        super().__init__(RedactingExporter(exporter), **options)

    def on_end(self, span: ReadableSpan) -> None:
        if span.parent is not None or span.kind is not SpanKind.CLIENT:
            super().on_end(span)


class RedactingExporter(SpanExporter):
    """Exporter that removes queries of URLs, and all that the log redacts, from spans.

    Args:
        exporter: What sends the spans.
    """

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([_redacted(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _redacted(span: ReadableSpan) -> ReadableSpan:
    description = span.status.description
    left_out = _LEFT_OUT_OF_REQUESTS if span.kind is SpanKind.SERVER else _LEFT_OUT
    return ReadableSpan(
        name=redact(unquote(span.name)),  # Older instrumentations name a request by its path.
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_redacted_attributes(span.attributes, left_out),
        events=[
            Event(event.name, _redacted_attributes(event.attributes), event.timestamp)
            for event in span.events
        ],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code, description and redact(description)),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _redacted_attributes(
    attributes: Mapping[str, Any] | None, left_out: Collection[str] = _LEFT_OUT
) -> dict[str, Any]:
    return {
        name: _redacted_value(name, value)
        for name, value in (attributes or {}).items()
        if name not in left_out
    }


def _redacted_value(name: str, value: Any) -> Any:
    if isinstance(value, str):
        # `ada%40example.com` is decoded, so that it is redacted.
        return redact(unquote(value.partition("?")[0]) if name in _URLS else value)
    if isinstance(value, Sequence):
        return [_redacted_value(name, item) for item in value]
    return value


class RepeatedMessageLimiter(logging.Handler):
    """Handler that logs a repeated message of the SDK once in `REPORT_SECONDS`.

    A collector that cannot be reached would otherwise cause several lines in a second. One message
    is left out: a delivery that is answered at its deadline is answered in the context of a timer,
    and OpenTelemetry reports that the span of the request was not current there.

    Args:
        monotonic: Returns seconds.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._logged_at: dict[tuple[str, str], float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Log the message with the logger of this module, unless a similar one was just logged."""
        if record.msg == "Failed to detach context":
            return
        key, now = (record.name, str(record.msg)), self._monotonic()
        if now - self._logged_at.get(key, -REPORT_SECONDS) >= REPORT_SECONDS:
            self._logged_at[key] = now
            logger.log(
                record.levelno,
                "message of OpenTelemetry",
                extra={"origin": record.name, "reason": record.getMessage()},
            )
