"""The operator's routes: queries, cursors, replay and findings."""

import asyncio
import base64
import json
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from datalayer_stripe.administration.findings import CachedFindings
from datalayer_stripe.plugin_api.definition import Plugin
from datalayer_stripe.sandbox import Sandbox
from datalayer_stripe.sandbox.delivery.webhooks import Webhooks
from datalayer_stripe.service import Service
from tests.administration.documents import event, job
from tests.support.app import ACCOUNT, OPERATOR, Api, changed, json_of, recorded
from tests.support.shop import Buyer, insert, rows
from tests.support.thin import last_event, thin_body

ADMIN = "/api/iam/stripe/v1/admin"

stores = pytest.mark.parametrize(
    "store_kind", ["memory", pytest.param("mongod", marks=pytest.mark.mongod)]
)


class FailingOnce:
    """Plugin that fails an event until it is allowed to succeed."""

    def __init__(self) -> None:
        self.plugin = Plugin("fails-first")
        self.is_failing = True
        self.successes = 0

        @self.plugin.on("payment_intent.succeeded")
        async def run(_event: Any, _ctx: Any) -> None:
            if self.is_failing:
                raise RuntimeError("not now")
            self.successes += 1


FAILING = FailingOnce()


@pytest.fixture
def extra_plugins() -> Sequence[Plugin]:
    FAILING.__init__()  # type: ignore[misc]
    return [FAILING.plugin]


def cursor_of(value: Any) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


FORGED = [
    "",
    "%00",
    "not-base64!",
    cursor_of(b"\xff\xfe"),
    cursor_of(b"[" * 5000),
    cursor_of([]),
    cursor_of({}),
    cursor_of({"at": {"$gt": 0}, "ids": []}),
    cursor_of({"at": "2026-11-01T00:00:00Z", "ids": []}),
    cursor_of({"at": -1, "id": "a", "uid": ""}),
    cursor_of({"at": 10**30, "id": "a"}),
    cursor_of({"at": True, "id": "a"}),
    cursor_of({"at": 1.5, "id": "a"}),
    cursor_of({"at": 0, "ids": [{"$ne": 1}], "id": {"$ne": 1}, "uid": {"$gt": ""}}),
    cursor_of({"at": 0, "ids": "evt_1", "id": ["evt_1"], "uid": ["a"], "event_id": 1}),
    cursor_of({"at": 0, "ids": ["x" * 256], "id": "x" * 256, "uid": "x" * 256}),
    cursor_of({"at": 0, "ids": ["x"] * 501, "uid": "a", "handle": {"$gt": ""}}),
]


@pytest.mark.gen_test
async def test_forged_cursor_is_refused(api: Api) -> None:
    lists = ("events", "events?status=deferred", "accounts", "accounts/a/ledger")
    for path in lists:
        for cursor in FORGED:
            url = f"{ADMIN}/{path}{'&' if '?' in path else '?'}cursor={cursor}"
            answer = await api.get_as_operator(url)
            is_other_list = path == "accounts/a/ledger" and '"ids": ["x"]' in cursor
            assert answer.code == 400 or is_other_list, (url[:200], answer.body)
            assert json_of(answer)["code"] == "invalid_request"


@pytest.mark.gen_test
async def test_last_moment_of_a_cursor_is_accepted(api: Api) -> None:
    last = 253_402_300_799_000
    for path, cursor in (
        ("events", {"at": last, "ids": []}),
        ("accounts/a/ledger", {"at": last, "id": "a"}),
        ("accounts/a/payments", {"at": 0, "id": "\U0001f600"}),
        ("accounts", {"uid": "\u0000"}),
    ):
        answer = await api.get_as_operator(f"{ADMIN}/{path}?cursor={cursor_of(cursor)}")
        assert answer.code == 200, answer.body


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "path",
    [
        "overview?days=0",
        "overview?days=367",
        "overview?days=x",
        "events?status=done",
        "events?limit=0",
        "events?limit=101",
        "events?type=$where",
        "events?account_uid=%00",
        "accounts?limit=-1",
        f"accounts?query={'x' * 129}",
        f"accounts/{ACCOUNT}?limit=1000",
    ],
)
async def test_query_that_is_not_valid_is_refused(api: Api, path: str) -> None:
    answer = await api.get_as_operator(f"{ADMIN}/{path}")
    assert (answer.code, json_of(answer)["code"]) == (400, "invalid_request")


@pytest.mark.gen_test
@pytest.mark.parametrize("uid", ["nobody", "%00", "a%20b", "%F0%9F%98%80", "x" * 129, "a%2Fb"])
async def test_unknown_account_is_not_found(api: Api, uid: str) -> None:
    for suffix in ("", "/ledger", "/payments"):
        answer = await api.get_as_operator(f"{ADMIN}/accounts/{uid}{suffix}")
        is_possible = uid in ("nobody", "a%2Fb")
        assert answer.code == (200 if suffix and is_possible else 404), (uid, answer.body)


@pytest.mark.gen_test
async def test_account_with_a_slash_in_its_uid_is_found(api: Api, service: Service) -> None:
    await service.store.accounts.describe("team/ada", handle=None, email=None)
    answer = json_of(await api.get_as_operator(f"{ADMIN}/accounts/team%2Fada"))
    assert answer["account"]["account_uid"] == "team/ada"


@stores
@pytest.mark.gen_test
async def test_replay_that_is_clicked_twice_at_once_takes_effect_once(
    api: Api, service: Service, store_kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    body = changed(recorded("payment_intent.succeeded"))
    event_id = json.loads(body)["id"]
    assert (await api.deliver(body)).code == 503
    listed = json_of(await api.get_as_operator(f"{ADMIN}/events?status=failed"))
    assert [one["id"] for one in listed["events"]] == [event_id]
    credits, FAILING.is_failing = await api.credits(), False

    path = f"{ADMIN}/events/{event_id}/replay"
    with caplog.at_level(logging.INFO):
        answers = await asyncio.gather(*(api.post_as_operator(path) for _ in range(5)))
    outcomes = sorted(json_of(one)["outcome"] for one in answers)
    assert {one.code for one in answers} == {200}
    assert set(outcomes) <= {"processed", "duplicate"}
    assert outcomes.count("processed") >= 1
    run = json_of(answers[0])["handlers"]["fails-first"]
    assert run["status"] == "done"
    assert await api.credits() == credits
    assert len(await rows(service, "ledger")) == 1
    assert json_of(await api.get_as_operator(f"{ADMIN}/events?status=failed"))["events"] == []

    replays = [one for one in caplog.records if one.message == "event replayed"]
    assert len(replays) == 5
    assert {(one.event_id, one.operator) for one in replays} == {(event_id, OPERATOR)}  # type: ignore[attr-defined]


async def buy_without_delivery(buyer: Buyer, webhooks: Webhooks) -> dict[str, Any]:
    """Buy a package, and return the event of its payment, which Stripe does not deliver."""
    FAILING.is_failing = False
    await buyer.subscribe()
    webhooks.drop(1000)
    await buyer.buy()
    return last_event(buyer.sandbox, "payment_intent.succeeded")


@pytest.mark.gen_test
async def test_replay_fetches_an_event_that_is_only_at_stripe(
    api: Api, buyer: Buyer, webhooks: Webhooks
) -> None:
    paid = await buy_without_delivery(buyer, webhooks)
    answer = await api.post_as_operator(f"{ADMIN}/events/{paid['id']}/replay")
    assert json_of(answer)["outcome"] == "processed"
    assert await buyer.credits() == 50
    answer = await api.post_as_operator(f"{ADMIN}/events/evt_unknown/replay")
    assert (answer.code, json_of(answer)["code"]) == (404, "not_found")


@stores
@pytest.mark.gen_test
async def test_replay_of_an_event_of_the_other_mode_is_refused(
    api: Api, service: Service, store_kind: str
) -> None:
    live = changed(recorded("payment_intent.succeeded"), id="evt_live", livemode=True)
    document = event("evt_live", failed=["top-up-credits"], livemode=True, payload=live.decode())
    deferred = event("evt_job", livemode=True)
    deferred["handlers"]["mailer"] = {**deferred["handlers"]["done"], "status": "deferred"}
    waiting = {**job("evt_job", "mailer"), "event": "{}"}
    await insert(service, "events", document, deferred)
    await insert(service, "jobs", waiting)
    for event_id in ("evt_live", "evt_job"):
        answer = await api.post_as_operator(f"{ADMIN}/events/{event_id}/replay")
        assert (answer.code, json_of(answer)["message"]) == (
            400,
            f"Event {event_id} in the database is of live mode, but the secret key is of test "
            "mode.",
        )
    assert await rows(service, "ledger") == []
    [left] = await rows(service, "jobs")
    assert left["due_at"] == waiting["due_at"], "its job is not made due"


@pytest.mark.gen_test
async def test_replay_of_a_thin_event_answers_with_its_snapshot_event(
    api: Api, buyer: Buyer, webhooks: Webhooks
) -> None:
    paid = await buy_without_delivery(buyer, webhooks)
    thin_id = json.loads(thin_body(paid))["id"]
    for outcome in ("processed", "duplicate"):
        answer = json_of(await api.post_as_operator(f"{ADMIN}/events/{thin_id}/replay"))
        assert (answer["event_id"], answer["outcome"]) == (paid["id"], outcome)
        assert answer["handlers"]["top-up-credits"]["status"] == "done"


@pytest.mark.gen_test
async def test_replay_of_an_event_that_reconciliation_has_created(api: Api) -> None:
    FAILING.is_failing = True
    event = changed(recorded("payment_intent.succeeded"), id="reconciled-pi_1-0a1b2c3d")
    assert (await api.deliver(event)).code == 503
    FAILING.is_failing = False
    answer = await api.post_as_operator(f"{ADMIN}/events/reconciled-pi_1-0a1b2c3d/replay")
    assert json_of(answer)["outcome"] == "processed"


@pytest.mark.gen_test
async def test_replay_needs_json(api: Api) -> None:
    path = f"{ADMIN}/events/evt_1/replay"
    headers = {
        "Authorization": f"Bearer {api.bearer(OPERATOR, user={'roles': ['platform_admin']})}"
    }
    for content_type, body, code in (
        ("text/plain", "{}", 415),
        ("application/x-www-form-urlencoded", "a=1", 415),
        ("application/json", "", 400),
        ("application/json", "[]", 400),
    ):
        answer = await api.request(
            "POST", path, body=body, headers={**headers, "Content-Type": content_type}
        )
        assert answer.code == code


@pytest.mark.gen_test
async def test_replays_of_an_operator_are_limited(api: Api) -> None:
    FAILING.is_failing = False
    event_id = json_of(await api.deliver(recorded("payment_intent.succeeded")))["event"]
    path = f"{ADMIN}/events/{event_id}/replay"
    answers = [await api.post_as_operator(path) for _ in range(25)]
    assert {one.code for one in answers} == {200, 429}
    assert json_of(answers[0])["outcome"] == "duplicate"
    assert int(answers[-1].headers["Retry-After"]) > 0


@pytest.mark.gen_test
async def test_address_of_an_owner_is_shown_and_not_logged(
    api: Api, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    address = "ada@example.com"
    await service.store.accounts.describe(ACCOUNT, handle="ada", email=address)
    with caplog.at_level(logging.DEBUG):
        story = await api.get_as_operator(f"{ADMIN}/accounts/{ACCOUNT}")
        listed = await api.get_as_operator(f"{ADMIN}/accounts?query=ada")
    assert json_of(story)["account"]["email"] == address
    assert [one["handle"] for one in json_of(listed)["accounts"]] == ["ada"]
    assert address not in listed.body.decode()
    assert address not in caplog.text


@pytest.mark.gen_test
async def test_findings_are_found_once_a_minute_for_all_callers(
    api: Api, service: Service, sandbox: Sandbox
) -> None:
    now = 0.0
    findings = CachedFindings(service.clock, lambda: now)

    async def get() -> Any:
        return await findings.get(lambda: service.check_context("/webhook"))

    first, second = await asyncio.gather(get(), get())
    calls = len(sandbox.api.calls)
    assert first is second
    assert calls > 0
    now = 59.0
    assert await get() is first
    assert len(sandbox.api.calls) == calls
    now = 61.0
    assert await get() is not first
    assert len(sandbox.api.calls) > calls


@pytest.mark.gen_test
async def test_doctor_answers_with_each_check(api: Api, sandbox: Sandbox) -> None:
    answer = json_of(await api.get_as_operator(f"{ADMIN}/doctor"))
    checks = {one["check"] for one in answer["findings"]}
    assert "database.reachable" in checks or len(checks) > 15
    assert "endpoint.answers" not in checks
    assert sum(answer["counts"].values()) == len(answer["findings"])
    assert answer["at"]


@pytest.mark.gen_test
async def test_reads_of_operators_leave_connections_to_deliveries(
    api: Api, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, most, is_free = 0, 0, asyncio.Event()
    page = service.store.event_lists.page

    async def slow_page(*args: Any, **options: Any) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await is_free.wait()
        running -= 1
        return await page(*args, **options)

    monkeypatch.setattr(service.store.event_lists, "page", slow_page)
    requests = [
        asyncio.ensure_future(api.get_as_operator(f"{ADMIN}/{path}"))
        for path in ("events", "events?status=failed", "accounts/a", "events?account_uid=a")
    ]
    while running < 2:  # noqa: ASYNC110 (the server runs in this event loop)
        await asyncio.sleep(0.001)
    # Deliveries and other routes do not wait.
    assert (await api.deliver(recorded("payment_intent.succeeded"))).code in (200, 503)
    assert (most, running) == (2, 2)
    is_free.set()
    answers = await asyncio.gather(*requests)
    assert [one.code for one in answers] == [200, 200, 404, 200]
    assert most == 2
