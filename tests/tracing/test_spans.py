"""One trace from a delivery through the plugins to MongoDB and Stripe."""

import asyncio
import json
import logging
from collections.abc import Sequence

import pytest
from opentelemetry.trace import StatusCode

from datalayer_stripe import Context, Event, Plugin
from datalayer_stripe.logs import JsonFormatter
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.service import Service
from datalayer_stripe.store.commit import Work
from tests.store.test_group_commit import credits_of
from tests.support.app import STRIPE_KEY, WEBHOOK_SECRET, Api, changed, json_of, recorded
from tests.tracing.conftest import Spans, context_of

DELIVERY = "POST /api/iam/stripe/v1/webhook"
PAID = "payment_intent.succeeded"
EMAIL = "ada@example.com"

reader = Plugin("reader")


@reader.on(PAID)
async def read_customer(event: Event, ctx: Context) -> None:
    if customer_id := event.object.get("customer"):
        await ctx.stripe.retrieve_customer(str(customer_id))


mailer = Plugin("mailer")


@mailer.on(PAID, deferred=True)
async def send_mail(event: Event, ctx: Context) -> None:
    ctx.collection.insert_one({"_id": event.id})


failing = Plugin("failing")


@failing.on("customer.updated")
async def fail(event: Event, ctx: Context) -> None:
    await ctx.stripe.sdk.v1.customers.list_async({"email": EMAIL})
    raise ValueError(f"cannot write to {EMAIL}")


slow = Plugin("slow")


@slow.on("customer.created")
async def be_slow(event: Event, ctx: Context) -> None:
    await asyncio.sleep(0.05)


@pytest.fixture
def extra_plugins() -> Sequence[Plugin]:
    return (reader, mailer, failing, slow)


class Lines(logging.Handler):
    """The lines of JSON that were logged."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.lines: list[dict[str, object]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_delivery_is_one_trace_through_the_plugins_to_mongodb_and_stripe(
    api: Api, sandbox: Sandbox, spans: Spans
) -> None:
    lines, logger = Lines(), logging.getLogger("datalayer_stripe")
    logger.addHandler(lines)
    logger.setLevel(logging.INFO)
    customer = sandbox.create_customer(payment_method="pm_card_visa")["id"]
    spans.clear()
    body = changed(recorded(PAID), id="evt_traced", customer=customer)
    answer = await api.deliver(body)
    logger.removeHandler(lines)
    assert json_of(answer)["outcome"] == "processed"

    delivery = spans.one(DELIVERY)
    assert delivery.parent is None
    assert spans.path(spans.one("plugin top-up-credits")) == [DELIVERY, "plugin top-up-credits"]
    plugin = spans.one("plugin reader")
    assert plugin.attributes == {
        "datalayer_stripe.plugin": "reader",
        "datalayer_stripe.event.id": "evt_traced",
        "datalayer_stripe.event.type": PAID,
        "datalayer_stripe.outcome": "processed",
    }
    assert spans.path(spans.one("GET")) == [DELIVERY, "plugin reader", "GET"]
    [written, *_] = [span for span in spans.finished() if span.name.endswith(".insert")]
    names = spans.path(written)
    assert names[1].startswith("plugin ")
    assert names[2:4] == ["commit", "transaction"]
    assert len(spans.of_trace(delivery)) == len(spans.finished()), "one trace"

    [line] = [line for line in lines.lines if line["message"] == "delivery"]
    assert line["trace_id"] == f"{context_of(delivery).trace_id:032x}"
    assert line["span_id"] == f"{context_of(delivery).span_id:016x}"


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_deferred_job_has_a_trace_that_links_to_the_delivery(
    api: Api, service: Service, spans: Spans
) -> None:
    await api.deliver(recorded(PAID))
    await service.worker.run_due()
    job = spans.one("job mailer")
    assert job.parent is None
    assert (job.attributes or {})["datalayer_stripe.outcome"] == "processed"
    [link] = job.links
    deferring = spans.one("plugin mailer")
    assert link.context.span_id == context_of(deferring).span_id
    assert spans.path(deferring) == [DELIVERY, "plugin mailer"]
    written = [span for span in spans.of_trace(job).values() if span.name.endswith(".insert")]
    assert spans.path(written[0])[:3] == ["job mailer", "commit", "transaction"]


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_transaction_is_in_one_trace_and_is_linked_with_the_others(
    service: Service, spans: Spans
) -> None:
    async def run(work: Work) -> None:
        with spans.tracer.plugin_run("top-up-credits", "evt", PAID):
            await service.store.commit(*work)

    first, *rest = credits_of("abcd")
    committing = asyncio.create_task(run(first))
    for _ in range(5):  # it has taken its unit, and the others wait for the next transaction
        await asyncio.sleep(0)
    await asyncio.gather(committing, *map(run, rest))
    alone, shared = spans.named("transaction")
    assert [(one.attributes or {})["datalayer_stripe.units"] for one in (alone, shared)] == [1, 3]
    assert shared.parent is not None
    commits = {context_of(span).span_id: span for span in spans.named("commit")}
    owner = commits[shared.parent.span_id]
    others = [commits[link.context.span_id] for link in shared.links]
    traces = {context_of(span).trace_id for span in (owner, *others)}
    assert len(traces) == 3, "each delivery has a trace of its own"
    assert context_of(alone).trace_id not in traces
    assert context_of(shared).trace_id == context_of(owner).trace_id
    assert list(owner.links) == []
    for other in others:
        assert [link.context.span_id for link in other.links] == [context_of(shared).span_id]


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_spans_contain_no_secret_no_address_and_no_statement(
    api: Api, sandbox: Sandbox, spans: Spans
) -> None:
    answer = await api.deliver(changed(recorded("customer.updated"), email=EMAIL))
    assert answer.code == 503
    secret = "pi_1_secret_2"
    await api.get(f"/api/iam/stripe/v1/topup/{secret}/ada%40example.com?client_secret={secret}")
    token = api.bearer("account")
    run = spans.one("plugin failing")
    assert run.status.status_code is StatusCode.ERROR
    assert (run.attributes or {})["error.type"] == "ValueError"
    text = "".join(span.to_json() for span in spans.finished())
    for forbidden in ("@", "%40", "?", secret, STRIPE_KEY, WEBHOOK_SECRET, token[:20], "client_ip"):
        assert forbidden not in text, forbidden
    statements = {(span.attributes or {}).get("db.statement") for span in spans.finished()}
    assert statements <= {None, "find", "insert", "update", "commitTransaction", "abortTransaction"}


@pytest.mark.gen_test
async def test_headers_of_strangers_are_neither_in_spans_nor_in_metrics(
    api: Api, spans: Spans
) -> None:
    headers = {"Host": "stranger.example", "User-Agent": "stranger/1.0"}
    await api.request("GET", "/api/iam/v1/usage/credits", headers=headers)
    [request] = spans.finished()
    assert "stranger" not in request.to_json()
    metrics = spans.metrics.get_metrics_data()  # some versions of the SDK count its own spans
    assert metrics is None or "http" not in metrics.to_json()


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_sampler_that_raises_refuses_no_delivery_and_is_logged_once(
    api: Api, sandbox: Sandbox, spans: Spans, caplog: pytest.LogCaptureFixture
) -> None:
    customer = sandbox.create_customer(payment_method="pm_card_visa")["id"]
    spans.clear()
    spans.sampler.is_failing = True
    try:
        answers = [await api.deliver(changed(recorded(PAID), customer=customer)) for _ in range(2)]
    finally:
        spans.sampler.is_failing = False
    assert [json_of(answer)["outcome"] for answer in answers] == ["processed", "processed"]
    assert spans.finished() == []
    reasons = [one.__dict__["reason"] for one in caplog.records if "Telemetry" in one.message]
    assert reasons == ["A span could not be started: RuntimeError: no sampling today"]


@pytest.mark.gen_test
async def test_refusal_has_its_own_status_and_is_no_error_of_the_service(
    api: Api, spans: Spans
) -> None:
    refused = await api.deliver(b"{}", "t=1,v1=00")
    missing = await api.get("/api/iam/v1/usage/credits", None)
    for answer, name in ((refused, DELIVERY), (missing, "GET /api/iam/v1/usage/credits")):
        span = spans.one(name)
        assert (span.attributes or {})["http.status_code"] == answer.code
        assert span.status.status_code is StatusCode.UNSET
        assert list(span.events) == []


@pytest.mark.parametrize("method", ["SERVICE", "FOO", "XSRF_TOKEN"])
@pytest.mark.gen_test
async def test_unknown_method_reads_no_attribute_of_the_handler(
    api: Api, spans: Spans, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    for path in ("/api/iam/stripe/v1/topup/payment-intent/pi_1", "/checkout/files/app.js"):
        answer = await api.request(method, path, allow_nonstandard_methods=True)
        assert (answer.code, answer.headers.get("Set-Cookie")) in {(405, None), (404, None)}
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR] == []


@pytest.mark.gen_test
async def test_delivery_that_is_answered_late_is_one_trace(
    api: Api,
    service: Service,
    spans: Spans,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("datalayer_stripe.webhooks.delivery.ANSWER_DEADLINE_SECONDS", 0)
    assert (await api.deliver(recorded("customer.created"))).code == 503
    await service.deliveries.idle()
    assert (spans.one(DELIVERY).attributes or {})["http.status_code"] == 503
    assert spans.path(spans.one("plugin slow")) == [DELIVERY, "plugin slow"]
    assert [one.message for one in caplog.records if "tracing" in one.name] == []


@pytest.mark.mongod
@pytest.mark.gen_test
async def test_probes_and_periodic_reads_have_no_trace(
    api: Api, service: Service, spans: Spans
) -> None:
    await asyncio.gather(*(api.request("GET", path) for path in ("/healthz", "/readyz")))
    await service.store.jobs.count()
    assert spans.finished() == []
