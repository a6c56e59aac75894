"""What the exporter removes from spans, and what the log says of the SDK's messages."""

import logging

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode

from datalayer_stripe.tracing.export import (
    REPORT_SECONDS,
    RepeatedMessageLimiter,
    ServiceSpanProcessor,
)


def test_exported_span_is_redacted_and_otherwise_the_same() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(ServiceSpanProcessor(exporter))
    tracer = provider.get_tracer("tests", "1.0")
    with tracer.start_as_current_span("outer") as outer:
        span = tracer.start_span(
            "for ada@example.com",
            kind=SpanKind.CLIENT,
            attributes={
                "http.url": "https://api.stripe.com/v1/customers?email=ada%40example.com",
                "url.path": "/of/ada%40example.com",
                "url.query": "email=ada",
                "client.address": "192.0.2.7",
                "http.request.header.authorization": ["Bearer abcdefghijklmnopqrstuvwxyz"],
                "http.request.header.x_note": ["sk_test_abcdefgh", "plain"],
                "http.status_code": 200,
            },
        )
        span.record_exception(ValueError("no mail to ada@example.com"))
        span.set_status(Status(StatusCode.ERROR, "ada@example.com is wrong"))
        span.end()
    provider.shutdown()
    found = {one.name: one for one in exporter.get_finished_spans()}
    client = found["for [redacted]"]
    assert client.attributes == {
        "http.url": "https://api.stripe.com/v1/customers",
        "url.path": "/of/[redacted]",
        "http.request.header.x_note": ["[redacted]", "plain"],
        "http.status_code": 200,
    }
    assert client.status.description == "[redacted] is wrong"
    [event] = client.events
    assert (event.attributes or {})["exception.message"] == "no mail to [redacted]"
    assert "ada" not in str((event.attributes or {})["exception.stacktrace"])
    assert client.parent == outer.get_span_context()
    assert client.kind is SpanKind.CLIENT
    assert client.context == span.get_span_context()
    assert client.instrumentation_scope is not None
    assert client.instrumentation_scope.name == "tests"


def test_headers_of_a_received_request_are_left_out_by_their_old_and_new_names() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(ServiceSpanProcessor(exporter))
    tracer = provider.get_tracer("tests", "1.0")
    headers = {"http.host": "h", "http.user_agent": "u", "user_agent.original": "u"}
    address = {"server.address": "api.stripe.com", "server.port": 443}
    with tracer.start_as_current_span("in", kind=SpanKind.SERVER, attributes=headers | address):
        tracer.start_span("out", kind=SpanKind.CLIENT, attributes=address).end()
    provider.shutdown()
    found = {one.name: one.attributes for one in exporter.get_finished_spans()}
    assert found == {"in": {}, "out": address}


def test_similar_messages_of_the_sdk_are_logged_once_in_ten_minutes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 1000.0
    handler = RepeatedMessageLimiter(monotonic=lambda: now)
    sdk = logging.getLogger("tests.opentelemetry")
    sdk.propagate = False
    sdk.addHandler(handler)
    for seconds in (1, 2, 3):
        sdk.warning("Transient error %s, retrying in %ss", "refused", seconds)
        sdk.error("Failed to detach context")
    assert [record.__dict__["reason"] for record in caplog.records] == [
        "Transient error refused, retrying in 1s"
    ]
    now += REPORT_SECONDS
    sdk.warning("Transient error %s, retrying in %ss", "refused", 4)
    sdk.warning("Queue full")
    assert len(caplog.records) == 3
