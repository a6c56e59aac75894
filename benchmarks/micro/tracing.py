"""Measure what traces cost a delivery, while they are off and while they are recorded."""

import time

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from benchmarks.micro.environment import payment_event, run_on_mongod, show, sign
from datalayer_stripe.composition import open_service
from datalayer_stripe.service import Service
from datalayer_stripe.tracing import NO_TRACER
from datalayer_stripe.tracing.export import ServiceSpanProcessor
from datalayer_stripe.tracing.spans import OpenTelemetryTracer

ROUNDS, COUNT = 5, 100


async def time_deliveries(service: Service, run: str) -> float:
    """Return the mean time of a delivery in milliseconds."""
    started_at = time.perf_counter()
    for number in range(COUNT):
        body = payment_event(number, run)
        await service.deliveries.receive(body, sign(body))
    return (time.perf_counter() - started_at) / COUNT * 1e3


def time_calls_while_off(times: int = 20_000) -> float:
    """Return the mean time of the tracer's calls in one delivery in milliseconds."""
    started_at = time.perf_counter()
    for _ in range(times):
        with NO_TRACER.plugin_run("top-up-credits", "evt", "payment_intent.succeeded") as span:
            with NO_TRACER.commit() as commit, NO_TRACER.transaction([commit]):
                pass
            span.end("processed")
    return (time.perf_counter() - started_at) / times * 1e3


async def measure(service: Service) -> None:
    """Measure deliveries to a service, and to another one that records spans."""
    provider = TracerProvider(shutdown_on_exit=False)
    exporter = InMemorySpanExporter()
    provider.add_span_processor(ServiceSpanProcessor(exporter))
    tracer = OpenTelemetryTracer(provider)
    traced = await open_service(service.settings, tracer=tracer)
    off, on = [], []
    for number in range(ROUNDS):
        off.append(await time_deliveries(service, f"off{number}"))
        on.append(await time_deliveries(traced, f"on{number}"))
        exporter.clear()
    await traced.close()
    await tracer.stop(seconds=10)
    calls = time_calls_while_off() * 1000
    show("off: its calls in 1,000 deliveries", calls, min(off), "ms", "one delivery")
    show("recorded: one delivery", min(on), min(off), "ms", "off")


def main() -> None:
    run_on_mongod(measure)


if __name__ == "__main__":
    main()
