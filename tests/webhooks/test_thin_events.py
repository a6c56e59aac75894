"""Thin events: the event is read from Stripe and given to the plugins of its snapshot type."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from datalayer_stripe import Context, Event, Plugin
from datalayer_stripe.errors import Overloaded, StripeObjectMissing
from datalayer_stripe.limits import Admission
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.service import Service
from datalayer_stripe.stripe_api.permits import LocalPermits
from datalayer_stripe.webhooks import delivery
from datalayer_stripe.webhooks.outcome import Outcome
from tests.support.app import ACCOUNT, STRIPE_KEY, Api, json_of, sign
from tests.support.shop import Buyer, rows
from tests.support.thin import last_event, thin_body

PAID = "payment_intent.succeeded"

seen: list[Event] = []
failures: list[Exception] = []

watcher = Plugin("watcher")


@watcher.on("product.deleted", "customer.deleted", "product.updated", "payout.paid")
async def watch(event: Event, ctx: Context) -> None:
    seen.append(event)
    if failures:
        raise failures.pop()


@pytest.fixture
def extra_plugins() -> Sequence[Plugin]:
    seen.clear()
    failures.clear()
    return [watcher]


@pytest.fixture
def paid(sandbox: Sandbox, shop: Any, service: Service) -> dict[str, Any]:
    """Pay a package of 50 credits at Stripe; return the snapshot event, which is not delivered."""
    intent = sandbox.call(
        "POST",
        "/v1/payment_intents",
        amount=500,
        currency="usd",
        metadata={"account_uid": ACCOUNT, "price_id": shop.packages[0], "credits": "50"},
    )
    sandbox.confirm_payment(intent["id"])
    sandbox.api.calls.clear()
    return last_event(sandbox, PAID)


def reads(sandbox: Sandbox) -> list[str]:
    """Return the paths that the service has requested from Stripe."""
    return [call.path for call in sandbox.api.calls]


async def outcome(api: Api, body: bytes) -> str:
    answer = await api.deliver(body)
    assert answer.code == 200, answer.body
    return str(json_of(answer)["outcome"])


# The event that a thin event stands for


@pytest.mark.gen_test
async def test_thin_event_is_processed_as_the_snapshot_event_that_it_names(
    api: Api, service: Service, sandbox: Sandbox, paid: dict[str, Any]
) -> None:
    answer = await api.deliver(thin_body(paid))
    assert json_of(answer) == {"received": True, "event": paid["id"], "outcome": "processed"}
    assert await api.credits() == 50
    [stored] = await rows(service, "events")
    assert (stored["_id"], stored["type"]) == (paid["id"], PAID)
    assert stored["handlers"]["top-up-credits"]["status"] == "done"
    assert reads(sandbox) == [f"/v1/events/{paid['id']}"]


@pytest.mark.gen_test
async def test_snapshot_event_after_its_thin_event_is_a_duplicate(
    api: Api, service: Service, paid: dict[str, Any]
) -> None:
    assert await outcome(api, thin_body(paid)) == "processed"
    assert await outcome(api, json.dumps(paid).encode()) == "duplicate"
    assert await api.credits() == 50
    assert len(await rows(service, "events")) == 1


@pytest.mark.gen_test
async def test_thin_event_after_its_snapshot_event_is_a_duplicate_and_stripe_is_not_asked(
    api: Api, sandbox: Sandbox, paid: dict[str, Any]
) -> None:
    assert await outcome(api, json.dumps(paid).encode()) == "processed"
    assert await outcome(api, thin_body(paid)) == "duplicate"
    assert reads(sandbox) == []


@pytest.mark.gen_test
async def test_snapshot_event_that_the_body_does_not_name_is_looked_up(
    api: Api, sandbox: Sandbox, paid: dict[str, Any]
) -> None:
    body = thin_body(paid, snapshot_event=None)
    answer = await api.deliver(body)
    assert (json_of(answer)["event"], json_of(answer)["outcome"]) == (paid["id"], "processed")
    thin_id = json.loads(body)["id"]
    assert reads(sandbox) == [f"/v2/core/events/{thin_id}", f"/v1/events/{paid['id']}"]


@pytest.mark.gen_test
async def test_object_is_read_under_the_snapshot_event_s_id_if_stripe_has_deleted_that_event(
    api: Api, service: Service, sandbox: Sandbox, paid: dict[str, Any]
) -> None:
    sandbox.forget_events()
    assert await outcome(api, thin_body(paid)) == "processed"
    assert await api.credits() == 50
    intent = paid["data"]["object"]["id"]
    assert reads(sandbox) == [f"/v1/events/{paid['id']}", f"/v1/payment_intents/{intent}"]
    assert await outcome(api, json.dumps(paid).encode()) == "duplicate"
    assert [row["_id"] for row in await rows(service, "events")] == [paid["id"]]


@pytest.mark.gen_test
async def test_thin_event_without_a_snapshot_event_has_its_own_id(
    api: Api, service: Service, paid: dict[str, Any]
) -> None:
    body = thin_body(paid, id="evt_test_alone", snapshot_event=None)
    assert await outcome(api, body) == "processed"
    assert await outcome(api, body) == "duplicate"
    assert await api.credits() == 50
    assert [row["_id"] for row in await rows(service, "events")] == ["evt_test_alone"]
    # The payment's id guards the credits if Stripe delivers the snapshot event after all.
    assert await outcome(api, json.dumps(paid).encode()) == "processed"
    assert await api.credits() == 50


@pytest.mark.gen_test
async def test_event_that_a_plugin_has_failed_is_not_read_from_stripe_again(
    api: Api, sandbox: Sandbox, shop: Any, service: Service
) -> None:
    sandbox.call("POST", f"/v1/products/{shop.other_product}", name="Renamed")
    body = thin_body(last_event(sandbox, "product.updated"))
    failures.append(RuntimeError("a bug"))
    assert (await api.deliver(body)).code == 503
    sandbox.api.calls.clear()
    sandbox.api.refuse(times=9)
    assert await outcome(api, body) == "processed"
    assert reads(sandbox) == []


@pytest.mark.gen_test
async def test_plugin_gets_the_deleted_object_s_id_if_nothing_else_is_left(
    api: Api, sandbox: Sandbox, paid: dict[str, Any]
) -> None:
    gone = {"id": "prod_gone", "type": "product", "url": "/v1/products/prod_gone"}
    delete = thin_body(paid, type="v1.product.deleted", snapshot_event="evt_1", related_object=gone)
    update = thin_body(paid, type="v1.product.updated", snapshot_event="evt_2", related_object=gone)
    sandbox.forget_events()
    assert await outcome(api, delete) == "processed"
    assert seen[-1].object == {"id": "prod_gone", "object": "product", "deleted": True}
    answer = await api.deliver(update)
    assert (answer.code, json_of(answer)["code"]) == (503, "delivery_failed")


@pytest.mark.gen_test
async def test_deleted_customer_is_released_without_its_snapshot_event(
    api: Api, service: Service, sandbox: Sandbox, buyer: Buyer
) -> None:
    await buyer.subscribe()
    [customer] = await rows(service, "customers")
    sandbox.call("DELETE", f"/v1/customers/{customer['customer_id']}")
    body = thin_body(last_event(sandbox, "customer.deleted"))
    sandbox.forget_events()
    assert await outcome(api, body) == "processed"
    assert await rows(service, "customers") == []
    assert [row["_id"] for row in await rows(service, "former_customers")] == [
        customer["customer_id"]
    ]


@pytest.mark.gen_test
async def test_restricted_key_that_may_not_read_events_reads_the_object(
    api: Api, service: Service, sandbox: Sandbox, paid: dict[str, Any]
) -> None:
    sandbox.dispatcher.restricted_keys[STRIPE_KEY] = frozenset({"payment_intent_read"})
    answer = await api.deliver(thin_body(paid, snapshot_event=None))
    assert answer.code == 503, "without an id, another delivery could have a second effect"
    assert await outcome(api, thin_body(paid)) == "processed"
    assert [row["_id"] for row in await rows(service, "events")] == [paid["id"]]
    assert await api.credits() == 50


@pytest.mark.gen_test
async def test_replay_of_a_thin_event_s_id_replays_its_snapshot_event(
    api: Api, service: Service, paid: dict[str, Any]
) -> None:
    thin_id = json.loads(thin_body(paid))["id"]
    assert (await service.processor.replay(thin_id)).outcome is Outcome.PROCESSED
    assert (await service.processor.replay(thin_id)).outcome is Outcome.DUPLICATE
    assert await api.credits() == 50
    assert [row["_id"] for row in await rows(service, "events")] == [paid["id"]]
    with pytest.raises(StripeObjectMissing):
        await service.processor.replay("evt_test_none")


# What is not processed


@pytest.mark.gen_test
async def test_type_without_a_plugin_is_ignored_and_stripe_is_not_asked(
    api: Api, service: Service, sandbox: Sandbox, paid: dict[str, Any]
) -> None:
    for event_type in ("v1.payment_intent.created", "v2.core.event_destination.ping"):
        body = thin_body(paid, type=event_type, snapshot_event=None)
        assert await outcome(api, body) == "ignored"
    assert reads(sandbox) == []
    assert await rows(service, "events") == []


@pytest.mark.gen_test
async def test_thin_event_needs_a_valid_signature(
    api: Api, service: Service, sandbox: Sandbox, paid: dict[str, Any]
) -> None:
    body = thin_body(paid)
    for signature in ("", sign(body, secret="whsec_of_a_stranger"), sign(body + b" ")):
        answer = await api.deliver(body, signature)
        assert (answer.code, json_of(answer)["code"]) == (400, "invalid_signature")
    assert reads(sandbox) == []
    rolled = sign(body, secret="whsec_rolledRolledRolledRolled00")
    assert (await api.deliver(body, rolled)).code == 200


@pytest.mark.gen_test
async def test_thin_event_of_the_other_mode_is_refused(
    api: Api, sandbox: Sandbox, paid: dict[str, Any]
) -> None:
    answer = await api.deliver(thin_body(paid, livemode=True))
    assert (answer.code, json_of(answer)["code"]) == (400, "invalid_request")
    assert reads(sandbox) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", ""),
        ("id", "x" * 256),
        ("id", ".."),
        ("type", "v1."),
        ("type", None),
        ("created", "yesterday"),
        ("created", "2026-01-01T00:00:00"),
        ("created", "0001-01-01T00:00:00Z"),
        ("livemode", "maybe"),
        ("context", 7),
        ("related_object", "pi_1"),
        ("related_object.url", {"id": "pi_1", "type": "payment_intent"}),
        ("related_object.id", {"id": ".", "type": "customer", "url": "/v1/customers/."}),
        ("snapshot_event", "evt 1"),
        ("snapshot_event", ".."),
    ],
)
@pytest.mark.gen_test
async def test_malformed_thin_event_is_refused_with_the_name_of_the_field(
    api: Api, paid: dict[str, Any], field: str, value: Any
) -> None:
    answer = await api.deliver(thin_body(paid, **{field.partition(".")[0]: value}))
    assert (answer.code, json_of(answer)["code"]) == (400, "invalid_request")
    assert json_of(answer)["message"] == f"The body is not a thin Stripe event: {field}."


@pytest.mark.parametrize(
    "related",
    [
        None,
        {"id": "pi_1", "type": "payment_intent", "url": "https://stranger.example/v1/x"},
        {"id": "pi_1", "type": "payment_intent", "url": "/v1/payment_intents/pi_2"},
        {"id": "../x", "type": "payment_intent", "url": "/v1/refunds/../x"},
        {"id": "acct_1", "type": "v2.core.account", "url": "/v2/core/accounts/acct_1"},
    ],
)
@pytest.mark.gen_test
async def test_object_of_another_type_or_url_is_not_read(
    api: Api, sandbox: Sandbox, paid: dict[str, Any], related: Any
) -> None:
    body = thin_body(paid, id="evt_test_x", snapshot_event=None, related_object=related)
    answer = await api.deliver(body)
    assert (answer.code, json_of(answer)["code"]) == (400, "invalid_request")
    assert reads(sandbox) == ["/v2/core/events/evt_test_x"]


@pytest.mark.gen_test
async def test_context_of_another_account_is_ignored_and_that_of_this_account_is_processed(
    api: Api, service: Service, sandbox: Sandbox, paid: dict[str, Any]
) -> None:
    related = {"id": "cus_9", "type": "customer", "url": "/v1/customers/cus_9"}
    deleted = {"type": "v1.customer.deleted", "related_object": related}
    for other in ({"snapshot_event": None, **deleted}, {}):
        body = thin_body(paid, context="org_1/acct_other", **other)
        assert await outcome(api, body) == "ignored"
    assert await rows(service, "events") == []
    assert reads(sandbox) == ["/v1/account"]
    account = sandbox.call("GET", "/v1/account")["id"]
    assert await outcome(api, thin_body(paid, context=f"org_1/{account}")) == "processed"


@pytest.mark.gen_test
async def test_key_that_may_not_read_the_account_processes_what_it_can_read(
    api: Api, service: Service, sandbox: Sandbox, paid: dict[str, Any]
) -> None:
    permissions = frozenset({"payment_intent_read", "event_read", "customer_read"})
    sandbox.dispatcher.restricted_keys[STRIPE_KEY] = permissions
    related = {"id": "cus_9", "type": "customer", "url": "/v1/customers/cus_9"}
    deleted = {"type": "v1.customer.deleted", "related_object": related, "snapshot_event": None}
    answer = await api.deliver(thin_body(paid, id="evt_test_x", context="acct_other", **deleted))
    assert answer.code == 503, "it may be an event of this account"
    assert await rows(service, "events") == []
    assert await outcome(api, thin_body(paid, context="acct_own")) == "processed"


# Stripe and the service under load


@pytest.mark.gen_test
async def test_outage_is_answered_503_and_the_next_delivery_is_processed(
    api: Api, sandbox: Sandbox, paid: dict[str, Any], quick_retries: None
) -> None:
    sandbox.api.refuse(503, times=3)
    answer = await api.deliver(thin_body(paid))
    assert (answer.code, json_of(answer)["code"]) == (503, "delivery_failed")
    assert answer.headers["Retry-After"]
    assert await api.credits() == 0
    assert await outcome(api, thin_body(paid)) == "processed"


@pytest.mark.gen_test
async def test_stripe_s_429_is_answered_503(
    api: Api, sandbox: Sandbox, paid: dict[str, Any], quick_retries: None
) -> None:
    sandbox.api.refuse(429, times=9)
    answer = await api.deliver(thin_body(paid))
    assert (answer.code, json_of(answer)["code"]) == (503, "delivery_failed")


@pytest.mark.gen_test
async def test_read_needs_a_permit_of_the_shared_rate_limit(
    api: Api, sandbox: Sandbox, paid: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def grant_none(permits: LocalPermits, operation: str, *_: Any, **__: Any) -> Any:
        assert operation == "events.retrieve"
        return 0, 3.0

    with monkeypatch.context() as patch:
        patch.setattr(LocalPermits, "lease", grant_none)
        answer = await api.deliver(thin_body(paid))
    assert (answer.code, json_of(answer)["code"]) == (503, "delivery_failed")
    assert reads(sandbox) == []
    assert await outcome(api, thin_body(paid)) == "processed"


@pytest.mark.gen_test
async def test_delivery_is_admitted_before_stripe_is_asked(
    api: Api, sandbox: Sandbox, paid: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise Overloaded

    monkeypatch.setattr(Admission, "acquire", refuse)
    answer = await api.deliver(thin_body(paid))
    assert (answer.code, json_of(answer)["code"]) == (503, "overloaded")
    assert reads(sandbox) == []


@pytest.mark.gen_test
async def test_deadline_includes_the_read(
    api: Api,
    service: Service,
    sandbox: Sandbox,
    paid: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivery, "ANSWER_DEADLINE_SECONDS", 0.05)
    sandbox.api.delay(0.3, times=1)
    answer = await api.deliver(thin_body(paid))
    assert (answer.code, json_of(answer)["message"]) == (503, delivery.STILL_PROCESSING)
    await service.deliveries.idle()
    assert await api.credits() == 50
