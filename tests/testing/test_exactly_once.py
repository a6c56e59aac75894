"""`assert_exactly_once` reports what is wrong with a plugin, and accepts correct plugins."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from datalayer_stripe import Context, Event, Plugin, Reject, Retry
from datalayer_stripe.errors import KitError, SettingsError
from datalayer_stripe.plugin_api.loading import load_plugins
from datalayer_stripe.testing import assert_exactly_once, recorded_event
from tests.testing import plugins

PAID = recorded_event("payment_intent.succeeded")
LATER = recorded_event("payment_intent.succeeded.after-decline")
OTHER = recorded_event("payment_intent.succeeded", id="evt_other", object_id="pi_other")

BUILT_IN = [one for one in load_plugins() if one.origin.kind == "built-in"]
CORRECT = (plugins.counting, plugins.deferred, plugins.expecting, plugins.without_ids)

Make = Callable[[], Plugin]


@pytest.fixture(params=["memory", pytest.param("mongod", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest) -> str:
    """The database of the test: in memory, or a real MongoDB."""
    if request.param == "memory":
        return "memory://"
    return str(request.getfixturevalue("mongod_url"))


def failure_of(plugin: Plugin[Any], *events: dict[str, Any], **options: Any) -> str:
    """Return the message of the failure of a faulty plugin."""
    with pytest.raises(AssertionError) as raised:
        assert_exactly_once(plugin, *events, **options)
    message = str(raised.value)
    beginning = f"The plugin {plugin.name} does not take effect exactly once.\nEvent: "
    assert message.startswith(beginning)
    return message


def line(message: str, beginning: str) -> str:
    """Return the only line of a message that begins like this."""
    [found] = [one for one in message.splitlines() if one.startswith(beginning)]
    return found


@pytest.mark.parametrize("make", CORRECT)
def test_correct_plugin_passes(make: Make) -> None:
    assert_exactly_once(make(), PAID)
    assert_exactly_once(make(), PAID, LATER, OTHER)  # all orders, and a fault of each call


# The writes of `expecting` conflict. `make test-faults` tries the others on a real MongoDB.
@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(make, marks=() if make is plugins.expecting else pytest.mark.faults)
        for make in CORRECT
    ],
)
def test_correct_plugin_passes_on_mongod(make: Make, mongod_url: str) -> None:
    assert_exactly_once(make(), PAID, mongodb_url=mongod_url)
    assert_exactly_once(make(), PAID, LATER, mongodb_url=mongod_url)


def test_built_in_dispute_plugin_passes_in_any_order() -> None:
    [disputes] = [one for one in BUILT_IN if one.name == "disputes"]
    events = [
        recorded_event(f"charge.dispute.{one}")
        for one in ("created", "funds_withdrawn", "funds_reinstated")
    ]
    assert_exactly_once(disputes, *events, after=[LATER])


def test_events_before_the_scenario_must_be_accepted() -> None:
    [refunds] = [one for one in BUILT_IN if one.name == "refunds"]
    refund = recorded_event("refund.created")
    with pytest.raises(
        KitError, match=r"after=evt_\w+ was refused; the last error: not credited yet"
    ):
        assert_exactly_once(refunds, recorded_event("charge.refunded"), after=[refund])
    with pytest.raises(KitError, match="the event in after= is not a Stripe event"):
        assert_exactly_once(refunds, refund, after=[{}])
    with pytest.raises(KitError, match="have the same id"):
        assert_exactly_once(refunds, refund, after=[refund])


def test_plugin_that_refreshes_snapshots_passes_in_any_order() -> None:
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
    """Patterns of what a failure reports: the scenario, the difference and the advice."""

    scenario: str
    difference: str
    advice: str


KEYLESS = Fault(
    scenario=r"delivered twice, concurrently",
    difference=r"Stripe: customer 2 is unexpected",
    advice=r"idempotency key to each call",
)
FAULTS: dict[Make, Fault] = {
    plugins.racing: Fault(
        scenario=r"2 events delivered concurrently",
        difference=r"plugin_racing: 'all': n is 1 instead of 2",
        advice=r"expect=…",
    ),
    plugins.counting_in_module: Fault(
        scenario=r"delivered once, to a new service",
        difference=r"plugin_counting-in-module: 'all': n is 2 instead of 1",
        advice=r"no state in the module",
    ),
    plugins.keyless: KEYLESS,
    plugins.keyless_deferred: Fault(
        scenario=(
            r"interrupted (before|after) call \d+ of \d+, (stripe\.create_customer|jobs\.take): "
        ),
        difference=KEYLESS.difference,
        advice=KEYLESS.advice,
    ),
    plugins.bypassing_context: Fault(
        scenario=r"delivered twice, concurrently",
        difference=r"plugin_bypassing-context: 'all': n is [23] instead of 1",
        advice=r"with ctx\.collection",
    ),
    plugins.random_tokens: Fault(
        scenario=r"delivered once, to a new service",
        difference=r"token is",
        advice=r"not at random",
    ),
    plugins.own_clock: Fault(
        scenario=r"delivered once, to a new service", difference=r"at is", advice=r"ctx\.now"
    ),
}


@pytest.mark.parametrize("make", FAULTS)
def test_fault_is_reported_with_scenario_difference_and_advice(make: Make, url: str) -> None:
    fault, message = FAULTS[make], failure_of(make(), PAID, mongodb_url=url)
    assert re.search(fault.scenario, line(message, "Scenario: "))
    assert re.search(f"^  .*{fault.difference}", message, re.MULTILINE), message
    assert re.search(fault.advice, line(message, "What to do: "))


def test_plugin_that_depends_on_the_order_fails(url: str) -> None:
    assert_exactly_once(plugins.last_wins(), PAID, mongodb_url=url)
    message = failure_of(plugins.last_wins(), PAID, LATER, mongodb_url=url)
    assert line(message, "Scenario: ") == "Scenario: delivered in the order 2, 1, some twice."
    assert "plugin_last-wins: 'latest': amount is 500 instead of 5000" in message
    assert "any order" in line(message, "What to do: ")
    assert f"Event: 2. {LATER['type']} {LATER['id']}" in message


def test_plugin_that_loses_concurrent_updates_fails() -> None:
    message = failure_of(plugins.racing(), PAID, LATER)
    assert (
        line(message, "Scenario: ")
        == "Scenario: 2 events delivered concurrently, to two processes."
    )


def test_deferred_plugin_that_loses_concurrent_updates_fails() -> None:
    message = failure_of(plugins.racing_deferred(), PAID)
    assert "plugin_racing-deferred: 'all': n is 1 instead of 2" in message


def test_plugin_that_fails_at_first_passes() -> None:
    failing_twice = plugins.FailingTwice()
    assert_exactly_once(failing_twice.plugin, PAID, observe=failing_twice.observe)
    assert_exactly_once(failing_twice.plugin, PAID, LATER, observe=failing_twice.observe)


def test_plugin_that_always_fails_is_reported_with_its_error() -> None:
    with pytest.raises(AssertionError) as raised:
        assert_exactly_once(plugins.failing(), PAID)
    message = str(raised.value)
    assert "The plain delivery fails: payment_intent.succeeded was answered 503 8 times" in message
    assert "ZeroDivisionError at plugins.py:" in message
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


def test_deferred_plugin_that_always_fails_is_reported() -> None:
    plugin = Plugin("never")

    @plugin.on(PAID["type"], deferred=True)
    async def fail(event: Event, ctx: Context) -> None:
        raise Retry("not today")

    message = failure_of(plugin, PAID)
    assert (
        "The plain delivery fails: the deferred work failed 8 times; the last error: not" in message
    )


def test_rejection_is_reported() -> None:
    plugin = Plugin("choosy")

    @plugin.on(PAID["type"])
    async def reject(event: Event, ctx: Context) -> None:
        raise Reject("too small")

    assert "The plain delivery is rejected: too small." in failure_of(plugin, PAID)


def test_external_effects_are_compared() -> None:
    careful, careless = plugins.Mailing(with_key=True), plugins.Mailing(with_key=False)
    assert_exactly_once(careful.plugin, PAID, observe=careful.observe)
    message = failure_of(careless.plugin, PAID, observe=careless.observe)
    assert "observe(): what it returns is [" in message
    assert "observe() count each key once" in line(message, "What to do: ")
    assert_exactly_once(careless.plugin, PAID)


def test_ignored_fields_may_differ() -> None:
    assert_exactly_once(plugins.random_tokens(), PAID, ignore=["token"])


def test_settings_are_passed_and_checked() -> None:
    class Chat(BaseModel):
        room: str

    plugin = Plugin("chat", settings=Chat)

    @plugin.on(PAID["type"])
    async def keep(event: Event, ctx: Context[Chat]) -> None:
        ctx.collection.insert_one({"_id": event.id, "room": ctx.settings.room})

    assert_exactly_once(plugin, PAID, settings={"room": "sales"})
    with pytest.raises(SettingsError, match="DATALAYER_STRIPE_PLUGIN_CHAT_ROOM: is missing"):
        assert_exactly_once(plugin, PAID)


def test_events_that_cannot_be_delivered_are_refused() -> None:
    plugin = plugins.counting()
    with pytest.raises(KitError, match=r"^Pass an event"):
        assert_exactly_once(plugin)
    with pytest.raises(
        KitError, match=r"does not run on invoice\.paid\. It runs on: payment_intent"
    ):
        assert_exactly_once(plugin, recorded_event("invoice.paid"))
    with pytest.raises(KitError, match="have the same id"):
        assert_exactly_once(plugin, PAID, PAID)


@pytest.mark.gen_test
async def test_async_test_is_refused() -> None:
    with pytest.raises(KitError, match="write a plain `def test`"):
        assert_exactly_once(plugins.counting(), PAID)


def test_expected_failures_are_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert_exactly_once(plugins.counting(), PAID)
    assert caplog.records == []
