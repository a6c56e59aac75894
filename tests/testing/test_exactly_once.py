"""`assert_exactly_once` finds what is wrong with a plugin, says it, and lets right ones pass."""

import re
from collections.abc import Callable

import pytest

from datalayer_stripe import Plugin
from datalayer_stripe.plugin_loading import load_plugins
from datalayer_stripe.testing import assert_exactly_once, recorded_event
from tests.testing import plugins

PAID = recorded_event("payment_intent.succeeded")
LATER = recorded_event("payment_intent.succeeded.after-decline")
OTHER = recorded_event("payment_intent.succeeded", id="evt_other", object_id="pi_other")

BUILT_IN = {one.name: one for one in load_plugins() if one.origin.kind == "built-in"}
RIGHT = (plugins.counting, plugins.deferred, plugins.expecting, plugins.nameless)


@pytest.fixture(params=["memory", pytest.param("mongod", marks=pytest.mark.slow)])
def mongodb_url(request: pytest.FixtureRequest) -> str:
    """Where it is tried."""
    if request.param == "memory":
        return "memory://"
    return str(request.getfixturevalue("mongod_url"))


@pytest.mark.parametrize("make", RIGHT)
def test_a_right_plugin_passes(make: Callable[[], Plugin], mongodb_url: str) -> None:
    assert_exactly_once(make(), PAID, mongodb_url=mongodb_url)
    assert_exactly_once(make(), PAID, LATER, OTHER, mongodb_url=mongodb_url)


FAULTS: dict[Callable[[], Plugin], tuple[str, str, str]] = {
    plugins.racing: ("2 events at once", r"plugin_racing: 'all': n is 1 instead of 2", "expect=…"),
    plugins.remembering: ("delivered once, to a new", r"'all': n is 2 instead of 1", "module"),
    plugins.keyless: (
        "delivered twice, at once",
        r"Stripe: customer 2 is too many",
        "idempotency key of event.id",
    ),
    plugins.keyless_later: (
        r"cut after call \d of \d, stripe.create_customer: nobody answers",
        r"Stripe: customer 2 is too many",
        "idempotency key of event.id",
    ),
    plugins.writing_by_itself: (
        "delivered twice, at once",
        r"plugin_writing-by-itself: 'all': n is 3 instead of 1",
        "by ctx.collection",
    ),
    plugins.random_ones: ("delivered once, to a new", "token is", "no random ones"),
    plugins.own_clock: ("delivered once, to a new", "at is", "ctx.now"),
}


@pytest.mark.parametrize("make", FAULTS)
def test_a_fault_is_found_and_told(make: Callable[[], Plugin], mongodb_url: str) -> None:
    course, difference, remedy = FAULTS[make]
    plugin = make()
    with pytest.raises(AssertionError) as raised:
        assert_exactly_once(plugin, PAID, mongodb_url=mongodb_url)
    told = str(raised.value)
    assert told.startswith(f"The plugin {plugin.name} is not exactly once.\n")
    assert re.search(f"^Course: .*{course}", told, re.MULTILINE), told
    assert re.search(f"^  .*{difference}", told, re.MULTILINE), told
    assert re.search(f"^What to do: .*{re.escape(remedy)}", told, re.MULTILINE), told
