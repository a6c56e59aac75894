"""Record spans with OpenTelemetry's SDK and its instrumentations."""

import asyncio
import atexit
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.distro import OpenTelemetryConfigurator
from opentelemetry.environment_variables import OTEL_PROPAGATORS, OTEL_TRACES_EXPORTER
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.instrumentation.pymongo import PymongoInstrumentor
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.propagate import set_global_textmap
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Link, Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from .._version import __version__
from ..errors import AlreadyDone
from ..logs import bind_log_context, log_context
from .export import RepeatedMessageLimiter, ServiceSpanProcessor
from .guarded import GuardedTracerProvider
from .tracer import CommitSpan, RunSpan, Tracer

logger = logging.getLogger(__name__)

SERVICE_NAME = "datalayer-stripe"

# Probes have no trace, and a stream lasts for hours.
UNTRACED_URLS = r"/(healthz|readyz|metrics|stream)(\?|$)"

_EXCLUDED_VARIABLE = "OTEL_PYTHON_TORNADO_EXCLUDED_URLS"
_DISABLED_VARIABLE = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"

_PREFIX = "datalayer_stripe"

_traceparents = TraceContextTextMapPropagator()


def start_tracer() -> "OpenTelemetryTracer":
    """Configure OpenTelemetry's SDK by its environment variables, and return a tracer.

    Raises:
        RuntimeError: The configuration is not valid, or a part of it is not installed.
    """
    if isinstance(trace.get_tracer_provider(), TracerProvider):
        raise RuntimeError("start the service without opentelemetry-instrument")
    if os.environ.get("OTEL_CONFIG_FILE"):
        # The file would replace the processor that removes personal data.
        raise RuntimeError("OTEL_CONFIG_FILE is not supported: set the other variables")
    _set_defaults()
    configurator: Any = OpenTelemetryConfigurator
    configurator().configure(
        resource_attributes={"service.version": __version__},
        export_span_processor=ServiceSpanProcessor,
        # The SDK would export log lines that are not redacted.
        setup_logging_handler=False,
    )
    if not os.environ.get(OTEL_PROPAGATORS):
        # Otherwise anybody could choose which requests are recorded, and what is sent to Stripe.
        set_global_textmap(_NoPropagator())
    provider = trace.get_tracer_provider()
    assert isinstance(provider, TracerProvider)  # noqa: S101 (it was just configured)
    return OpenTelemetryTracer(provider)


def _set_defaults() -> None:
    """Set the variables that the SDK would read otherwise than this service's documents say."""
    environ = os.environ
    environ.setdefault(OTEL_TRACES_EXPORTER, "otlp")
    # The SDK's own default, gRPC, needs a large package. The default of the specification is this:
    # https://opentelemetry.io/docs/specs/otel/protocol/exporter/#specify-protocol
    environ.setdefault("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    if "service.name=" not in environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        environ.setdefault("OTEL_SERVICE_NAME", SERVICE_NAME)


class _NoPropagator(TextMapPropagator):
    """Propagator that reads and writes no header."""

    def extract(self, carrier: Any, context: Context | None = None, getter: Any = None) -> Context:  # noqa: ARG002
        """Return the context as it is."""
        return context if context is not None else get_current()

    def inject(self, carrier: Any, context: Context | None = None, setter: Any = None) -> None:
        """Do nothing."""

    @property
    def fields(self) -> set[str]:
        """The headers that it writes."""
        return set()


class _RecordedRun(RunSpan):
    def __init__(self, span: Span) -> None:
        self._span = span

    def end(self, outcome: str, error: Exception | None = None) -> None:
        """Record the outcome and the kind of the error. Its text may hold personal data."""
        self._span.set_attribute(f"{_PREFIX}.outcome", outcome)
        if error is not None:
            self._span.set_attribute("error.type", type(error).__name__)
        if outcome == "failed":
            self._span.set_status(StatusCode.ERROR)


class _RecordedCommit(CommitSpan):
    def __init__(self, span: Span) -> None:
        self.span = span


class OpenTelemetryTracer(Tracer):
    """Tracer that records spans, and instruments Tornado, PyMongo, Motor and aiohttp.

    Args:
        provider: The configured provider, which :meth:`stop` shuts down.
    """

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        guarded = GuardedTracerProvider(provider)
        self._tracer = guarded.get_tracer(_PREFIX, __version__)
        self._sdk_messages = RepeatedMessageLimiter()
        self._sdk_logger = logging.getLogger("opentelemetry")
        self._sdk_logger.addHandler(self._sdk_messages)
        self._sdk_logger.propagate = False
        self._instrumentors = _instrument(guarded)

    @contextmanager
    def plugin_run(self, plugin_name: str, event_id: str, event_type: str) -> Iterator[RunSpan]:
        attributes = _attributes(plugin_name, event_id, event_type)
        with self._span(f"plugin {plugin_name}", attributes=attributes) as span:
            yield _RecordedRun(span)

    @contextmanager
    def job(
        self, plugin_name: str, event_id: str, event_type: str, traceparent: str | None
    ) -> Iterator[RunSpan]:
        with self._span(
            f"job {plugin_name}",
            attributes=_attributes(plugin_name, event_id, event_type),
            context=Context(),
            kind=SpanKind.CONSUMER,
            links=_links_to(traceparent),
        ) as span:
            yield _RecordedRun(span)

    @contextmanager
    def commit(self) -> Iterator[CommitSpan]:
        with self._span("commit") as span:
            yield _RecordedCommit(span)

    @contextmanager
    def transaction(
        self, commits: Sequence[CommitSpan], name: str = "transaction"
    ) -> Iterator[None]:
        spans = [one.span for one in commits if isinstance(one, _RecordedCommit)]
        owner = next((span for span in spans if span.is_recording()), spans[0])
        others = [span for span in spans if span is not owner and span.is_recording()]
        with self._span(
            name,
            context=trace.set_span_in_context(owner, Context()),
            links=[Link(span.get_span_context()) for span in others],
            attributes={f"{_PREFIX}.units": len(commits)},
        ) as span:
            for other in others:
                other.add_link(span.get_span_context())
            yield

    def traceparent(self) -> str | None:
        if not trace.get_current_span().is_recording():
            return None
        carrier: dict[str, str] = {}
        _traceparents.inject(carrier)
        return carrier.get("traceparent")

    async def stop(self, *, seconds: float) -> None:
        for instrumentor in self._instrumentors:
            instrumentor.uninstrument()
        # A collector that does not answer holds the thread for up to half a minute, and would hold
        # the exit of the process as long.
        atexit.unregister(self._provider.shutdown)
        stopped = asyncio.Event()
        loop = asyncio.get_running_loop()

        def shut_down() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(stopped.set)

        threading.Thread(target=shut_down, name="last-spans", daemon=True).start()
        try:
            async with asyncio.timeout(seconds):
                await stopped.wait()
        except TimeoutError:
            logger.warning("The last traces were not sent within %g s", seconds)
        self._sdk_logger.removeHandler(self._sdk_messages)
        self._sdk_logger.propagate = True

    @contextmanager
    def _span(self, name: str, **options: Any) -> Iterator[Span]:
        """Record a span, and add its ids to the log.

        Args:
            name: Its name.
            options: Keyword arguments of `start_as_current_span`.
        """
        with (
            self._tracer.start_as_current_span(
                name, record_exception=False, set_status_on_exception=False, **options
            ) as span,
            log_context(**_ids_of(span)),
        ):
            try:
                yield span
            except Exception as error:
                span.set_attribute("error.type", type(error).__name__)
                if not isinstance(error, AlreadyDone):
                    span.set_status(StatusCode.ERROR)
                raise


def _instrument(provider: GuardedTracerProvider) -> list[Any]:
    """Instrument the libraries, except those that OTEL_PYTHON_DISABLED_INSTRUMENTATIONS names.

    Returns:
        What to call `uninstrument` of at the end.
    """
    environ = os.environ
    excluded = environ.get(_EXCLUDED_VARIABLE) or environ.get("OTEL_PYTHON_EXCLUDED_URLS")
    environ[_EXCLUDED_VARIABLE] = ",".join(filter(None, (excluded, UNTRACED_URLS)))
    # It reads the variable when it is imported.
    from opentelemetry.instrumentation.tornado import TornadoInstrumentor  # noqa: PLC0415

    kinds: dict[str, Any] = {
        "tornado": TornadoInstrumentor,
        "pymongo": PymongoInstrumentor,  # Motor's calls are PyMongo's
        "aiohttp-client": AioHttpClientInstrumentor,
    }
    disabled = {name.strip() for name in environ.get(_DISABLED_VARIABLE, "").split(",")}
    instrumentors = [kind() for name, kind in kinds.items() if not disabled & {name, "*"}]
    for instrumentor in instrumentors:
        instrumentor.instrument(
            tracer_provider=provider,
            # Their metrics have the header `Host` of each request, which anybody can choose.
            meter_provider=NoOpMeterProvider(),
            server_request_hook=lambda span, _: bind_log_context(**_ids_of(span)),
            capture_statement=False,
        )
    return instrumentors


def _ids_of(span: Span) -> dict[str, str]:
    context = span.get_span_context()
    if not context.is_valid:
        return {}
    return {
        "trace_id": trace.format_trace_id(context.trace_id),
        "span_id": trace.format_span_id(context.span_id),
    }


def _attributes(plugin_name: str, event_id: str, event_type: str) -> dict[str, str]:
    return {
        f"{_PREFIX}.plugin": plugin_name,
        f"{_PREFIX}.event.id": event_id,
        f"{_PREFIX}.event.type": event_type,
    }


def _links_to(traceparent: str | None) -> list[Link]:
    """Return a link to the span of a `traceparent`; none if it is missing or not valid."""
    carrier = {"traceparent": traceparent} if traceparent else {}
    span = trace.get_current_span(_traceparents.extract(carrier, Context()))
    context = span.get_span_context()
    return [Link(context)] if context.is_valid else []
