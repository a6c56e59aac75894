"""Check that a plugin takes effect exactly once in all scenarios."""

import copy
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ...errors import KitError, NotAccepted
from ...plugin_api.definition import Plugin
from ..database import Database, default_url
from ..loops import own_runner
from ..plugin_settings import GivenSettings, plugin_settings
from ..recordings import checked
from . import scenarios
from .advice import advice_for
from .scenario_run import PROCESSES, Events, PluginUnderTest, run_scenario
from .scenarios import Attempt
from .snapshot import Snapshot


def assert_exactly_once(
    plugin: Plugin[Any],
    *events: Mapping[str, Any],
    after: Events = (),
    settings: GivenSettings = None,
    observe: Callable[[], Any] | None = None,
    ignore: Collection[str] = (),
    mongodb_url: str | None = None,
) -> None:
    """Deliver events in all the ways in which they may arrive, and compare the final states.

    One event is delivered several times, one after the other and concurrently, to two processes
    of the service. It is also delivered again after each call of the plugin's run to the database
    and to Stripe has been interrupted, before and after it is done, by an error and by the death
    of the process. Several events are also delivered in every order (more than four, in 24
    orders) and concurrently. Deferred work is run to its end.

    Each time the final state must equal that of the plain delivery: the plugin's documents, the
    ledger, balances, snapshots, the plugin's status for the events, and the objects at Stripe.
    The clock stands still, so that `ctx.now` is the same.

    Args:
        plugin: The plugin.
        events: The events, as plain data. The plugin must run on their types.
        after: Events that the built-in plugins process before each scenario, such as the payment
            that `events` refund.
        settings: The plugin's settings: a mapping of field to value, or its model.
        observe: A function or coroutine function that returns the external effects since its last
            call, such as the mails sent. They must be the same, too.
        ignore: Names of fields of the plugin's documents that may differ.
        mongodb_url: As for `PluginService`.

    Raises:
        AssertionError: The plugin does not take effect exactly once. The message says what was
            done, what differs, and what to do.
        KitError: The events cannot be delivered to the plugin.
        SettingsError: The plugin's settings are missing or not valid.
    """
    _check_events(plugin, events, after)
    tested = PluginUnderTest(
        plugin, plugin_settings([plugin], settings), tuple(after), observe, frozenset(ignore)
    )
    url = default_url() if mongodb_url is None else mongodb_url
    with own_runner("assert_exactly_once") as runner:
        failure = runner.run(_run_all(tested, events, url))
    if failure is not None:
        raise failure


def _check_events(plugin: Plugin[Any], events: Events, after: Events) -> None:
    if not events:
        raise KitError("Pass an event: assert_exactly_once(plugin, recorded_event(…)).")
    for event in events:
        event_type = checked(event, "the event to deliver")["type"]
        if event_type not in plugin.types:
            raise KitError(
                f"The plugin {plugin.name} does not run on {event_type}. It runs on: "
                f"{', '.join(plugin.types) or 'no event type'}."
            )
    for event in after:
        checked(event, "the event in after=")
    if len({event["id"] for event in (*events, *after)}) < len(events) + len(after):
        raise KitError(
            "Two of these events have the same id. Pass another one: recorded_event(…, id=…)."
        )


async def _run_all(tested: PluginUnderTest, events: Events, url: str) -> AssertionError | None:
    database = await Database.open(url, processes=PROCESSES)
    try:
        return await _first_failure(tested, events, database)
    finally:
        await database.drop()


async def _first_failure(
    tested: PluginUnderTest, events: Events, database: Database
) -> AssertionError | None:
    try:
        expected, calls = await run_scenario(tested, database, scenarios.plain(events), events)
    except NotAccepted as refused:
        return _failure(tested, events, f"The plain delivery fails: {refused}.", refused)

    if reason := expected.rejection():
        return _failure(tested, events, f"The plain delivery is rejected: {reason}.")

    attempts = [scenarios.repeated(events), scenarios.duplicates(events)]
    if len(events) > 1:
        attempts += [*scenarios.orders(events), scenarios.concurrent(events)]
    attempts += [scenarios.concurrent_duplicates(events), *scenarios.faults(events, calls)]
    for attempt in attempts:
        failure = await _failure_of(tested, events, database, attempt, [expected])
        if failure is not None:
            return failure
    if len(events) == 1:
        return await _failure_with_second_event(tested, events[0], database)
    return None


async def _failure_of(
    tested: PluginUnderTest,
    events: Events,
    database: Database,
    attempt: Attempt,
    expected: list[Snapshot],
) -> AssertionError | None:
    """Return the failure of an attempt whose final state is none of the expected ones."""
    try:
        final, _ = await run_scenario(tested, database, attempt.scenario, events, attempt.fault)
    except NotAccepted as refused:
        text = f"Scenario: {attempt.description}.\nIt fails: {refused}."
        return _failure(tested, events, text, refused)
    differences = [final.differences(one) for one in expected]
    if not all(differences):
        return None
    first = differences[0]
    lines = [f"  {place}: {line}" for place, found in first.items() for line in found]
    return _failure(
        tested,
        events,
        "\n".join(
            [
                f"Scenario: {attempt.description}.",
                _DIFFERS_FROM_ORDERS if len(expected) > 1 else _DIFFERS_FROM_PLAIN,
                *lines,
                f"What to do: {advice_for(attempt.stress, set(first))}",
            ]
        ),
    )


async def _failure_with_second_event(
    tested: PluginUnderTest, event: Mapping[str, Any], database: Database
) -> AssertionError | None:
    """Deliver another event about the same object concurrently, as Stripe may do.

    The final state must be that of one of the two orders.
    """
    second = {**copy.deepcopy(dict(event)), "id": f"{event['id']}_other"}
    pair = (event, second)
    expected = []
    try:
        for order in (pair, pair[::-1]):
            final, _ = await run_scenario(tested, database, scenarios.plain(order), pair)
            expected.append(final)
    except NotAccepted:
        return None  # the plugin refuses a second event about the same object
    return await _failure_of(tested, pair, database, scenarios.concurrent(pair), expected)


def _failure(
    tested: PluginUnderTest, events: Events, what: str, refused: NotAccepted | None = None
) -> AssertionError:
    numbers = [f"{n}. " if len(events) > 1 else "" for n in range(1, len(events) + 1)]
    named = [
        f"Event: {number}{event['type']} {event['id']}"
        for number, event in zip(numbers, events, strict=True)
    ]
    lines = [f"The plugin {tested.plugin.name} does not take effect exactly once.", *named, what]
    failure = AssertionError("\n".join(lines))
    if refused is not None and refused.cause is not None:
        failure.__cause__ = refused.cause
    return failure


_DIFFERS_FROM_PLAIN = "The final state differs from that of the plain delivery:"
_DIFFERS_FROM_ORDERS = (
    "The final state differs from that of one event after the other, in both orders:"
)
