"""Routes for operators: health, readiness and metrics."""

import json

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pymongo.errors import AutoReconnect
from tornado.web import Application

from datalayer_stripe.errors import Overloaded, RateLimited
from datalayer_stripe.handlers.refusals import REASONS
from datalayer_stripe.logs import default_config
from datalayer_stripe.metrics import Metrics, exposition
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.service import Service
from datalayer_stripe.store import readiness
from tests.support.app import Api, changed, json_of, recorded
from tests.support.shop import IAM_ROUTES, STRIPE_ROUTES, Buyer

PAID = recorded("payment_intent.succeeded")

CONFIG = default_config(level="DEBUG", json=True)

Samples = dict[tuple[str, frozenset[str]], float]


async def samples(api: Api) -> Samples:
    """Return each sample by the name of its metric and the values of its labels."""
    answer = await api.get("/metrics", account=None)
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    return {
        (sample.name.removeprefix("datalayer_stripe_"), frozenset(sample.labels.values())): (
            sample.value
        )
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


def value(found: Samples, name: str, *labels: str) -> float:
    return found.get((name, frozenset(labels)), 0.0)


@pytest.fixture(autouse=True)
def fresh_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Render the metrics for each request, without the cache."""
    monkeypatch.setattr(exposition, "CACHE_SECONDS", 0.0)


@pytest.mark.gen_test
async def test_deliveries_and_credits_are_counted(api: Api) -> None:
    await api.deliver(PAID)
    await api.deliver(PAID)
    await api.deliver(changed(PAID, metadata={"credits": "5", "price_id": "price_1"}))
    await api.deliver(recorded("customer.created"))
    await api.deliver(PAID, "t=1,v1=00")
    found = await samples(api)
    paid = "payment_intent.succeeded"
    assert value(found, "deliveries_total", paid, "processed") == 1
    assert value(found, "deliveries_total", paid, "duplicate") == 1
    assert value(found, "deliveries_total", paid, "rejected") == 1
    assert value(found, "deliveries_total", "other", "ignored") == 1
    assert value(found, "credits_added_total") == 50
    path = f"{STRIPE_ROUTES}/webhook"
    assert value(found, "requests_total", "POST", path, "200") == 4
    assert value(found, "requests_total", "POST", path, "400") == 1
    assert value(found, "request_seconds_count", "POST", path) == 5


@pytest.mark.gen_test
async def test_failed_delivery_is_counted(api: Api, quick_retries: None) -> None:
    await api.deliver(recorded("invoice.paid"))  # Stripe cannot be reached
    found = await samples(api)
    assert value(found, "deliveries_total", "invoice.paid", "failed") == 1


@pytest.mark.gen_test
async def test_calls_to_stripe_are_counted_and_timed(
    buyer: Buyer, sandbox: Sandbox, quick_retries: None
) -> None:
    api = buyer.api
    await api.get(f"{STRIPE_ROUTES}/topup/prices")
    found = await samples(api)
    assert value(found, "stripe_calls_total", "prices.list", "ok") == 1
    assert value(found, "stripe_call_seconds_count", "prices.list") == 1
    sandbox.api.refuse(503, times=100)
    await api.get(f"{IAM_ROUTES}/plans/catalog")
    found = await samples(api)
    assert value(found, "stripe_calls_total", "prices.list", "APIError") >= 1


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("GET", f"{IAM_ROUTES}/subscription", f"{IAM_ROUTES}/subscription"),
        ("GET", f"{IAM_ROUTES}/plans", f"{IAM_ROUTES}/subscription"),
        ("GET", f"{IAM_ROUTES}/plans/catalog", f"{IAM_ROUTES}/subscription/plans"),
        ("POST", f"{IAM_ROUTES}/subscription/cancel", f"{IAM_ROUTES}/subscription/cancel"),
        ("POST", f"{IAM_ROUTES}/plans/resume", f"{IAM_ROUTES}/subscription/resume"),
        ("GET", f"{STRIPE_ROUTES}/plans/prices", f"{STRIPE_ROUTES}/topup/prices"),
        ("GET", "/made/up", "unmatched"),
    ],
)
@pytest.mark.gen_test
async def test_requests_are_counted_by_route(api: Api, method: str, path: str, route: str) -> None:
    answer = await api.request(method, path, body=b"" if method == "POST" else None)
    found = await samples(api)
    assert value(found, "requests_total", method, route, str(answer.code)) == 1


@pytest.mark.gen_test
async def test_unknown_methods_paths_and_types_create_no_time_series(api: Api) -> None:
    for n in range(3):
        await api.request("BREW", f"/pot/{n}")
        event = {**json.loads(PAID), "type": f"made.up{n}"}
        await api.deliver(json.dumps(event).encode())
    found = await samples(api)
    assert value(found, "requests_total", "other", "unmatched", "405") == 3
    assert value(found, "deliveries_total", "other", "ignored") == 3
    assert not any("made" in label or "/pot" in label for _, labels in found for label in labels)


@pytest.mark.gen_test
async def test_refusals_are_counted_by_reason(
    api: Api, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = json.dumps({**json.loads(PAID), "livemode": True}).encode()
    await api.deliver(PAID, "t=1,v1=00")
    await api.deliver(PAID, "")
    await api.deliver(live)
    await api.deliver(b"{}")
    await api.deliver(b" " * (1024 * 1024 + 1))
    await api.get(f"{IAM_ROUTES}/usage/credits", account=None)
    headers = {"Authorization": f"Bearer {api.bearer('someone')}"}
    path = f"{STRIPE_ROUTES}/topup/payment-intent"
    await api.request("POST", path, body=b"price", headers=headers)
    await api.post(path, {"price_id": 1}, "someone")

    async def refuse_delivery(*_: object, **__: object) -> None:
        raise Overloaded

    monkeypatch.setattr(service.deliveries, "receive", refuse_delivery)
    await api.deliver(PAID)

    async def refuse_purchase(*_: object) -> None:
        raise RateLimited(retry_after=1)

    monkeypatch.setattr(service.checkout, "start", refuse_purchase)
    await api.post(path, {"price_id": "price_1"}, "someone")
    found = await samples(api)
    counted = {reason: value(found, "refusals_total", reason) for reason in REASONS}
    assert counted == {
        "signature": 2,
        "mode": 1,
        "malformed": 2,
        "too_large": 1,
        "token": 1,
        "media_type": 1,
        "overloaded": 1,
        "rate": 1,
        "timeout": 0,
    }


@pytest.mark.gen_test
async def test_answer_to_a_processed_request_is_no_refusal(buyer: Buyer) -> None:
    await buyer.api.get(f"{STRIPE_ROUTES}/topup/payment-intent/pi_other", buyer.account)
    found = await samples(buyer.api)
    assert {value(found, "refusals_total", reason) for reason in REASONS} == {0}


@pytest.mark.gen_test
async def test_readiness_lists_problems(
    api: Api, service: Service, app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await api.get("/readyz", account=None)).code == 200

    async def fail(*_: object, **__: object) -> None:
        raise AutoReconnect("mongodb://user:password@host is down")

    app.settings["datalayer_stripe"].request_tracker.draining = True
    monkeypatch.setattr(type(service.store._client.admin), "command", fail)
    monkeypatch.setattr(readiness, "FRESH_SECONDS", 0.0)
    answer = await api.get("/readyz", account=None)
    assert answer.code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert json_of(answer) == {
        "success": False,
        "status": "not ready",
        "problems": {"service": "shutting down", "database": "does not answer"},
        "warnings": {},
    }
    assert (await api.get("/healthz", account=None)).code == 200, "the process is alive"


@pytest.mark.gen_test
async def test_stripe_warning_ends_with_next_successful_call(
    buyer: Buyer, sandbox: Sandbox, quick_retries: None
) -> None:
    sandbox.api.refuse(status=503, times=3)
    await buyer.api.get("/api/iam/stripe/v1/topup/prices")
    answer = await buyer.api.get("/readyz", account=None)
    assert (answer.code, list(json_of(answer)["warnings"])) == (200, ["stripe"])
    await buyer.api.get("/api/iam/stripe/v1/topup/prices")
    answer = await buyer.api.get("/readyz", account=None)
    assert json_of(answer)["warnings"] == {}


@pytest.mark.gen_test
async def test_stripe_outage_is_a_warning_and_service_stays_ready(
    buyer: Buyer, sandbox: Sandbox, quick_retries: None
) -> None:
    sandbox.api.refuse(503, times=100)
    await buyer.ask_to_subscribe()
    answer = await buyer.api.get("/readyz", account=None)
    assert (answer.code, json_of(answer)["status"]) == (200, "ready")
    assert list(json_of(answer)["warnings"]) == ["stripe"]
    sandbox.api.normal()
    await buyer.ask_to_subscribe()
    assert json_of(await buyer.api.get("/readyz", account=None))["warnings"] == {}


def test_metrics_are_rendered_at_most_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    seconds = [0.0]
    counted = Metrics(monotonic=lambda: seconds[0])
    counted.credits_added.inc(50)
    first = counted.exposition()
    assert b"datalayer_stripe_credits_added_total 50.0" in first
    counted.credits_added.inc(50)
    assert counted.exposition() is first
    seconds[0] = 1.0
    assert b"datalayer_stripe_credits_added_total 100.0" in counted.exposition()
