"""A service whose spans stay in memory."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from opentelemetry.instrumentation.utils import unwrap
from opentelemetry.metrics import set_meter_provider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler, SamplingResult
from tornado.httpclient import AsyncHTTPClient
from tornado.ioloop import IOLoop

from datalayer_stripe.composition import open_service
from datalayer_stripe.plugin_api.registry import Plugin, Registry
from datalayer_stripe.service import Service
from datalayer_stripe.settings import Settings
from datalayer_stripe.testing.clock import Clock
from datalayer_stripe.tracing.export import ServiceSpanProcessor
from datalayer_stripe.tracing.spans import OpenTelemetryTracer


class CustomSampler(Sampler):
    """Sampler that records all spans, or raises."""

    def __init__(self) -> None:
        self.is_failing = False

    def should_sample(self, *args: Any, **options: Any) -> SamplingResult:
        if self.is_failing:
            raise RuntimeError("no sampling today")
        return ALWAYS_ON.should_sample(*args, **options)

    def get_description(self) -> str:
        return "custom"


class Spans:
    """The spans that were exported, as a collector would have received them."""

    def __init__(self) -> None:
        self.metrics = InMemoryMetricReader()
        set_meter_provider(MeterProvider(metric_readers=[self.metrics], shutdown_on_exit=False))
        self.sampler = CustomSampler()
        self._exporter = InMemorySpanExporter()
        self._provider = TracerProvider(sampler=self.sampler, shutdown_on_exit=False)
        self._provider.add_span_processor(ServiceSpanProcessor(self._exporter))
        self.tracer = OpenTelemetryTracer(self._provider)
        unwrap(AsyncHTTPClient, "fetch")  # the client of the tests is no part of the service

    def clear(self) -> None:
        self.finished()
        self._exporter.clear()

    def finished(self) -> Sequence[ReadableSpan]:
        """Return all spans but those of the local Stripe, which is in the same process."""
        self._provider.force_flush()
        return [
            span
            for span in self._exporter.get_finished_spans()
            if ".sandbox." not in str((span.attributes or {}).get("tornado.handler"))
        ]

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.finished() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        [span] = self.named(name)
        return span

    def of_trace(self, span: ReadableSpan) -> dict[int, ReadableSpan]:
        """Return the spans of the same trace, by their ids."""
        trace_id = context_of(span).trace_id
        of_trace = [one for one in self.finished() if context_of(one).trace_id == trace_id]
        return {context_of(one).span_id: one for one in of_trace}

    def path(self, span: ReadableSpan) -> list[str]:
        """Return the names of a span and of the spans around it, from the outermost on."""
        spans, names = self.of_trace(span), [span.name]
        while span.parent is not None:
            span = spans[span.parent.span_id]
            names.insert(0, span.name)
        return names


def context_of(span: ReadableSpan) -> Any:
    assert span.context is not None
    return span.context


# PyMongo's listener keeps its first tracer, so only one module can use this.
@pytest.fixture(scope="module")
def all_spans() -> Iterator[Spans]:
    patch = pytest.MonkeyPatch()
    patch.setenv("OTEL_PYTHON_TORNADO_EXCLUDED_URLS", "")
    spans = Spans()
    yield spans
    asyncio.run(spans.tracer.stop(seconds=10))
    patch.undo()


@pytest.fixture
def spans(all_spans: Spans) -> Spans:
    all_spans.clear()
    return all_spans


@pytest.fixture
def service(
    io_loop: IOLoop,
    settings: Settings,
    clock: Clock,
    extra_plugins: Sequence[Plugin],
    spans: Spans,
) -> Iterator[Service]:
    registry = Registry((*Registry.load().plugins, *extra_plugins))
    service = io_loop.run_sync(
        lambda: open_service(settings, registry=registry, clock=clock, tracer=spans.tracer)
    )
    yield service
    io_loop.run_sync(service.close)
