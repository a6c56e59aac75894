"""`assert_exactly_once` finds what is wrong with a plugin, says it, and lets right ones pass."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from datalayer_stripe import Context, Event, Plugin, Reject, Retry
from datalayer_stripe.errors import KitError
from datalayer_stripe.plugin_api.loading import load_plugins
from datalayer_stripe.settings import SettingsError
from datalayer_stripe.testing import assert_exactly_once, recorded_event
from tests.testing import plugins

PAID = recorded_event("payment_intent.succeeded")
LATER = recorded_event("payment_intent.succeeded.after-decline")
OTHER = recorded_event("payment_intent.succeeded", id="evt_other", object_id="pi_other")

BUILT_IN = [one for one in load_plugins() if one.origin.kind == "built-in"]
RIGHT = (plugins.counting, plugins.deferred, plugins.expecting, plugins.nameless)

Make = Callable[[], Plugin]


@pytest.fixture(params=["memory", pytest.param("mongod", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest) -> str:
    """Where it is tried."""
    if request.param == "memory":
        return "memory://"
    return str(request.getfixturevalue("mongod_url"))


def told_of(plugin: Plugin[Any], *events: dict[str, Any], **options: Any) -> str:
    """What the author of a plugin with a fault is told."""
    with pytest.raises(AssertionError) as raised:
        assert_exactly_once(plugin, *events, **options)
    told = str(raised.value)
    assert told.startswith(f"The plugin {plugin.name} is not exactly once.\nEvent: ")
    return told


def line(told: str, beginning: str) -> str:
    """The line that begins so."""
    [found] = [one for one in told.splitlines() if one.startswith(beginning)]
    return found


@pytest.mark.parametrize("make", RIGHT)
def test_a_right_plugin_passes(make: Make, url: str) -> None:
    assert_exactly_once(make(), PAID, mongodb_url=url)
    others = [LATER, OTHER] if url == "memory://" else [LATER]  # each order, and each cut of each
    assert_exactly_once(make(), PAID, *others, mongodb_url=url)


def test_what_a_dispute_does_is_the_same_in_any_order() -> None:
    [disputes] = [one for one in BUILT_IN if one.name == "disputes"]
    events = [
        recorded_event(f"charge.dispute.{one}")
        for one in ("created", "funds_withdrawn", "funds_reinstated")
    ]
    assert_exactly_once(disputes, *events, after=[LATER])


def test_what_comes_before_has_to_be_taken() -> None:
    [refunds] = [one for one in BUILT_IN if one.name == "refunds"]
    refund = recorded_event("refund.created")
    with pytest.raises(KitError, match=r"before, evt_\w+, is refused: not credited yet"):
        assert_exactly_once(refunds, recorded_event("charge.refunded"), after=[refund])
    with pytest.raises(KitError, match="what is to come before is no Stripe event"):
        assert_exactly_once(refunds, refund, after=[{}])
    with pytest.raises(KitError, match="have one id"):
        assert_exactly_once(refunds, refund, after=[refund])


def test_events_of_one_subscription_pass_in_any_order() -> None:
    plugin = Plugin("follower")

    @plugin.on("customer.subscription.created", "customer.subscription.updated")
    async def follow(event: Event, ctx: Context) -> None:
        await ctx.snapshots.refresh_from(event.object)

    assert_exactly_once(
        plugin,
        recorded_event("customer.subscription.created"),
        recorded_event("customer.subscription.updated"),
        recorded_event("customer.subscription.updated.past-due"),
    )


class Fault(BaseModel):
    """What is told of a fault: patterns of the course, the difference and the remedy."""

    course: str
    difference: str
    remedy: str


KEYLESS = Fault(
    course=r"delivered twice, at once",
    difference=r"Stripe: customer 2 is too many",
    remedy=r"idempotency key of event\.id",
)
FAULTS: dict[Make, Fault] = {
    plugins.racing: Fault(
        course=r"2 events at once",
        difference=r"plugin_racing: 'all': n is 1 instead of 2",
        remedy=r"expect=…",
    ),
    plugins.remembering: Fault(
        course=r"delivered once, to a new service",
        difference=r"plugin_remembering: 'all': n is 2 instead of 1",
        remedy=r"no state in the module",
    ),
    plugins.keyless: KEYLESS,
    plugins.keyless_later: Fault(
        course=r"cut (before|after) call \d+ of \d+, (stripe\.create_customer|jobs\.take): ",
        difference=KEYLESS.difference,
        remedy=KEYLESS.remedy,
    ),
    plugins.writing_by_itself: Fault(
        course=r"delivered twice, at once",
        difference=r"plugin_writing-by-itself: 'all': n is [23] instead of 1",
        remedy=r"by ctx\.collection",
    ),
    plugins.random_ones: Fault(
        course=r"delivered once, to a new service", difference=r"token is", remedy=r"no random ones"
    ),
    plugins.own_clock: Fault(
        course=r"delivered once, to a new service", difference=r"at is", remedy=r"ctx\.now"
    ),
}


@pytest.mark.parametrize("make", FAULTS)
def test_a_fault_is_found_and_told(make: Make, url: str) -> None:
    fault, told = FAULTS[make], told_of(make(), PAID, mongodb_url=url)
    assert re.search(fault.course, line(told, "Course: "))
    assert re.search(f"^  .*{fault.difference}", told, re.MULTILINE), told
    assert re.search(fault.remedy, line(told, "What to do: "))


def test_what_came_last_is_found_to_depend_on_the_order(url: str) -> None:
    assert_exactly_once(plugins.last_wins(), PAID, mongodb_url=url)
    told = told_of(plugins.last_wins(), PAID, LATER, mongodb_url=url)
    assert line(told, "Course: ") == "Course: delivered in the order 2, 1, some twice."
    assert "plugin_last-wins: 'latest': amount is 500 instead of 5000" in told
    assert "any order" in line(told, "What to do: ")
    assert f"Event: 2. {LATER['type']} {LATER['id']}" in told


def test_two_events_that_race_are_found() -> None:
    told = told_of(plugins.racing(), PAID, LATER)
    assert line(told, "Course: ") == "Course: 2 events at once, on two processes."


def test_deferred_work_that_races_is_found() -> None:
    told = told_of(plugins.racing_later(), PAID)
    assert "plugin_racing-later: 'all': n is 1 instead of 2" in told


def test_a_plugin_that_fails_at_first_passes() -> None:
    shy = plugins.Shy()
    assert_exactly_once(shy.plugin, PAID, observe=shy.observe)
    assert_exactly_once(shy.plugin, PAID, LATER, observe=shy.observe)


def test_what_fails_each_time_is_told_with_its_error() -> None:
    with pytest.raises(AssertionError) as raised:
        assert_exactly_once(plugins.failing(), PAID)
    told = str(raised.value)
    assert "The plain delivery fails: payment_intent.succeeded was answered 503 8 times" in told
    assert "ZeroDivisionError at plugins.py:" in told
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


def test_deferred_work_that_fails_each_time_is_told() -> None:
    plugin = Plugin("never")

    @plugin.on(PAID["type"], deferred=True)
    async def fail(event: Event, ctx: Context) -> None:
        raise Retry("not today")

    told = told_of(plugin, PAID)
    assert "The plain delivery fails: the deferred work failed 8 times, at last for: not" in told


def test_what_is_rejected_is_told() -> None:
    plugin = Plugin("choosy")

    @plugin.on(PAID["type"])
    async def reject(event: Event, ctx: Context) -> None:
        raise Reject("too small")

    assert "The plain delivery is rejected: too small." in told_of(plugin, PAID)


def test_what_was_done_outside_is_observed() -> None:
    careful, careless = plugins.Mailing(with_key=True), plugins.Mailing(with_key=False)
    assert_exactly_once(careful.plugin, PAID, observe=careful.observe)
    told = told_of(careless.plugin, PAID, observe=careless.observe)
    assert "observe(): what it returns is [" in told
    assert "observe() count each key once" in line(told, "What to do: ")
    assert_exactly_once(careless.plugin, PAID)


def test_fields_that_may_differ_are_named() -> None:
    assert_exactly_once(plugins.random_ones(), PAID, ignore=["token"])


def test_settings_are_given_and_checked() -> None:
    class Chat(BaseModel):
        room: str

    plugin = Plugin("chat", settings=Chat)

    @plugin.on(PAID["type"])
    async def keep(event: Event, ctx: Context[Chat]) -> None:
        ctx.collection.insert_one({"_id": event.id, "room": ctx.settings.room})

    assert_exactly_once(plugin, PAID, settings={"room": "sales"})
    with pytest.raises(SettingsError, match="DATALAYER_STRIPE_PLUGIN_CHAT_ROOM: is missing"):
        assert_exactly_once(plugin, PAID)


def test_what_cannot_be_tried_is_told() -> None:
    plugin = plugins.counting()
    with pytest.raises(KitError, match=r"^Give an event"):
        assert_exactly_once(plugin)
    with pytest.raises(KitError, match=r"does nothing on invoice\.paid, but on: payment_intent"):
        assert_exactly_once(plugin, recorded_event("invoice.paid"))
    with pytest.raises(KitError, match="have one id"):
        assert_exactly_once(plugin, PAID, PAID)


@pytest.mark.gen_test
async def test_in_an_async_test_it_says_what_to_write() -> None:
    with pytest.raises(KitError, match="write a plain `def test`"):
        assert_exactly_once(plugins.counting(), PAID)


def test_the_log_has_nothing_of_the_failures_that_it_makes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert_exactly_once(plugins.counting(), PAID)
    assert caplog.records == []
