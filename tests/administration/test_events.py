"""Lists of events: every matching event is on exactly one page, the newest one first."""

from datetime import timedelta

import pytest

from datalayer_stripe.administration.events import EventStatus
from datalayer_stripe.administration.views import EventView
from datalayer_stripe.service import Service
from datalayer_stripe.store import event_lists
from datalayer_stripe.store.event_records import FAILED
from datalayer_stripe.stripe_api.dashboard import Dashboard
from tests.administration.documents import NOW, event, job
from tests.support.shop import insert

stores = pytest.mark.parametrize(
    "store_kind", ["memory", pytest.param("mongod", marks=pytest.mark.mongod)]
)
SECOND = timedelta(seconds=1)


async def all_pages(
    service: Service,
    *,
    limit: int,
    status: EventStatus = "all",
    event_type: str | None = None,
    account_uid: str | None = None,
) -> list[list[EventView]]:
    """Return all pages of a list, each from the cursor of the page before."""
    pages: list[list[EventView]] = []
    cursor: str | None = None
    while not pages or cursor:
        page = await service.administration.events.page(
            status=status,
            event_type=event_type,
            account_uid=account_uid,
            limit=limit,
            cursor=cursor,
        )
        pages.append(list(page.events))
        cursor = page.next_cursor
        assert len(pages) < 100
    return pages


async def ids(service: Service, *, limit: int = 100, **wanted: str) -> list[str]:
    pages = await all_pages(service, limit=limit, **wanted)  # type: ignore[arg-type]
    return [one.id for page in pages for one in page]


@stores
@pytest.mark.gen_test
async def test_pages_have_each_event_once_also_those_of_one_millisecond(
    service: Service, store_kind: str
) -> None:
    # Groups of 1, 7 and 3 events with the same time: a page of 3 ends within a group.
    stored = [
        event(f"evt_{group}_{number}", at=NOW - group * SECOND)
        for group, size in enumerate((1, 7, 3, 1))
        for number in range(size)
    ]
    await insert(service, "events", *stored)
    for limit in (1, 3, 4, 12):
        pages = await all_pages(service, limit=limit)
        found = [one for page in pages for one in page]
        assert sorted(one.id for one in found) == sorted(one["_id"] for one in stored)
        times = [one.received_at for one in found]
        assert times == sorted(times, reverse=True)
        assert all(len(page) == limit for page in pages[:-1])


@pytest.mark.gen_test
async def test_list_ends_also_with_more_events_of_a_millisecond_than_a_position_holds(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_lists, "MAX_IDS", 3)
    stored = [event(f"evt_{number}") for number in range(9)]
    await insert(service, "events", *stored, event("evt_old", at=NOW - SECOND))
    found = await ids(service, limit=2)
    assert len(found) == len(set(found))
    assert found[-1] == "evt_old"


@stores
@pytest.mark.gen_test
async def test_list_is_filtered(service: Service, store_kind: str) -> None:
    paid = "invoice.paid"
    await insert(
        service,
        "events",
        event("evt_1", at=NOW - 4 * SECOND),
        event("evt_2", at=NOW - 3 * SECOND, failed=["one"]),
        event("evt_3", at=NOW - 2 * SECOND, rejected=["one", "two"], type=paid),
        event("evt_4", at=NOW - SECOND, failed=["one"], type=paid, account_uid="b"),
        event("evt_5", account_uid=None, object_id="re_1", payment_intent_id="pi_of_evt_1"),
    )
    assert await ids(service) == ["evt_5", "evt_4", "evt_3", "evt_2", "evt_1"]
    assert await ids(service, status="failed") == ["evt_4", "evt_2"]
    assert await ids(service, status="rejected") == ["evt_3"]
    assert await ids(service, event_type=paid) == ["evt_4", "evt_3"]
    assert await ids(service, status="failed", event_type=paid) == ["evt_4"]
    assert await ids(service, account_uid="a", limit=2) == ["evt_5", "evt_3", "evt_2", "evt_1"]
    assert await ids(service, account_uid="a", status="failed") == ["evt_2"]
    assert await ids(service, account_uid="b") == ["evt_4"]
    assert await ids(service, account_uid="nobody") == []


@stores
@pytest.mark.gen_test
async def test_page_of_a_rare_type_looks_at_a_bounded_number_of_events(
    service: Service, store_kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_lists, "MAX_SCANNED", 4)
    stored = [
        event(f"evt_{number:02}", at=NOW - number * SECOND, type="rare" if number == 9 else "usual")
        for number in range(12)
    ]
    await insert(service, "events", *stored)
    pages = await all_pages(service, event_type="rare", limit=2)
    assert [[one.id for one in page] for page in pages] == [[], [], ["evt_09"]]
    found = [one.id async for one in service.store.event_lists.find(event_type="rare")]
    assert found == ["evt_09"]


@stores
@pytest.mark.gen_test
async def test_deferred_events_are_those_with_jobs(service: Service, store_kind: str) -> None:
    stored = [event(f"evt_{number}") for number in range(5)]
    await insert(service, "events", *stored)
    jobs = [job(f"evt_{number}", name) for number in (0, 2, 3, 4) for name in ("one", "two")]
    await insert(service, "jobs", *jobs)
    for limit in (1, 2, 3, 10):
        found = await ids(service, status="deferred", limit=limit)
        assert found == ["evt_0", "evt_2", "evt_3", "evt_4"]


@stores
@pytest.mark.gen_test
async def test_find_yields_the_events_since_a_time(service: Service, store_kind: str) -> None:
    stored = [event(f"evt_{number}", at=NOW - number * SECOND, failed=["a"]) for number in range(5)]
    await insert(service, "events", *stored)
    since = NOW - 2 * SECOND
    lists = service.store.event_lists
    found = [one.id async for one in lists.find(since=since, status=FAILED)]
    assert found == ["evt_0", "evt_1", "evt_2"]


@pytest.mark.gen_test
async def test_view_has_no_content_of_the_event(service: Service) -> None:
    await insert(service, "events", event("evt_1", failed=["one"]))
    [[view]] = await all_pages(service, limit=10)
    assert "payload" not in view.model_dump_json()
    assert view.handlers["one"].status == "failed"
    assert view.failed == ("one",)
    assert view == await service.administration.events.get("evt_1")


@pytest.mark.parametrize(
    ("object_id", "path"),
    [
        ("evt_1", "/events/evt_1"),
        ("pi_3N", "/payments/pi_3N"),
        ("cus_a", "/customers/cus_a"),
        ("sub_a", "/subscriptions/sub_a"),
        ("dp_a", "/disputes/dp_a"),
        ("re_a", None),
        ("evt_<script>", None),
        ("evt_1/../../apikeys", None),
        ("evt_1?x=1", None),
        ("evt_1\n", None),
        ("javascript:alert(1)", None),
        ("evt_", None),
        (None, None),
    ],
)
def test_link_is_for_known_ids_only(object_id: str | None, path: str | None) -> None:
    test, live = Dashboard(livemode=False), Dashboard(livemode=True)
    assert test.url(object_id) == (path and f"https://dashboard.stripe.com/test{path}")
    assert live.url(object_id) == (path and f"https://dashboard.stripe.com{path}")
    assert Dashboard(livemode=False, is_stripe=False).url(object_id) is None
