"""Whether a plugin takes effect exactly once, whatever Stripe and a bad day do with its events."""

import copy
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ...errors import KitError
from ...plugin_api.definition import Plugin
from ..database import Database, default_url
from ..loops import own_runner
from ..plugin_settings import GivenSettings, plugin_settings
from ..recordings import checked
from . import scenarios
from .scenario_run import PROCESSES, Events, NotAccepted, Subject, run_scenario
from .scenarios import Attempt, Trouble
from .snapshot import OBSERVED, STRIPE, Snapshot


def assert_exactly_once(
    plugin: Plugin[Any],
    *events: Mapping[str, Any],
    after: Events = (),
    settings: GivenSettings = None,
    observe: Callable[[], Any] | None = None,
    ignore: Collection[str] = (),
    mongodb_url: str | None = None,
) -> None:
    """Deliver events in all the ways in which they may come, and compare what is there at the end.

    One event is delivered several times, one after the other and at once, to two processes of the
    service; and again after each call that the plugin's run makes to the database and to Stripe has
    been cut, before it was done and after, by an error and by the death of the process. Several are
    delivered in every order, too (of more than four, in 24 orders), and all at once. Deferred work
    is run to its end. Each time the end must be that of the plain delivery: the plugin's
    documents, ledger, balances, snapshots, how the plugin stands with the events, and the objects
    at Stripe. Time stands still, so that `ctx.now` is the same.

    `after` are events that the built-in plugins have worked on before each of these ways, such as
    the payment that `events` refund.
    `settings` are the plugin's own: a mapping of field → value, or its model.
    `observe`, a function or coroutine function, returns what has happened outside since it was last
    called, such as the mails that were sent; it must be the same, too.
    `ignore` names fields of the plugin's documents that may differ.
    `mongodb_url` is as for :class:`.PluginService`.

    Raises AssertionError, which says what was done, what differs, and what to do; and KitError or
    SettingsError for what cannot be tried.
    """
    _check_events(plugin, events, after)
    subject = Subject(
        plugin, plugin_settings([plugin], settings), tuple(after), observe, frozenset(ignore)
    )
    url = default_url() if mongodb_url is None else mongodb_url
    with own_runner("assert_exactly_once") as runner:
        failure = runner.run(_try_all(subject, events, url))
    if failure is not None:
        raise failure


def _check_events(plugin: Plugin[Any], events: Events, after: Events) -> None:
    if not events:
        raise KitError("Give an event: assert_exactly_once(plugin, recorded_event(…)).")
    for event in events:
        event_type = checked(event, "what is to be delivered")["type"]
        if event_type not in plugin.types:
            raise KitError(
                f"The plugin {plugin.name} does nothing on {event_type}, but on: "
                f"{', '.join(plugin.types) or 'nothing at all'}."
            )
    for event in after:
        checked(event, "what is to come before")
    if len({event["id"] for event in (*events, *after)}) < len(events) + len(after):
        raise KitError("Two of these events have one id: recorded_event(…, id=…) makes another.")


async def _try_all(subject: Subject, events: Events, url: str) -> AssertionError | None:
    database = await Database.open(url, processes=PROCESSES)
    try:
        return await _first_failure(subject, events, database)
    finally:
        await database.drop()


async def _first_failure(
    subject: Subject, events: Events, database: Database
) -> AssertionError | None:
    try:
        expected, calls = await run_scenario(subject, database, scenarios.plain(events), events)
    except NotAccepted as refused:
        return _failure(subject, events, f"The plain delivery fails: {refused}.", refused)

    if reason := expected.rejected():
        return _failure(subject, events, f"The plain delivery is rejected: {reason}.")

    attempts = [scenarios.again(events), scenarios.duplicates(events)]
    if len(events) > 1:
        attempts += [*scenarios.orders(events), scenarios.abreast(events)]
    attempts += [scenarios.at_once(events), *scenarios.cuts(events, calls)]
    for attempt in attempts:
        failure = await _failure_of(subject, events, database, attempt, [expected])
        if failure is not None:
            return failure
    if len(events) == 1:
        return await _failure_with_sibling(subject, events[0], database)
    return None


async def _failure_of(
    subject: Subject,
    events: Events,
    database: Database,
    attempt: Attempt,
    expected: list[Snapshot],
) -> AssertionError | None:
    """What is wrong with the end of a scenario, which is to be one of those expected."""
    try:
        end, _ = await run_scenario(subject, database, attempt.scenario, events, attempt.cut)
    except NotAccepted as refused:
        return _failure(subject, events, f"Course: {attempt.words}.\nIt fails: {refused}.", refused)
    different = [end.differences(one) for one in expected]
    if not all(different):
        return None
    first = different[0]
    lines = [f"  {place}: {line}" for place, found in first.items() for line in found]
    return _failure(
        subject,
        events,
        "\n".join(
            [
                f"Course: {attempt.words}.",
                _NOT_AS_IN_TURN if len(expected) > 1 else _NOT_AS_PLAIN,
                *lines,
                f"What to do: {_remedy(attempt.trouble, set(first))}",
            ]
        ),
    )


async def _failure_with_sibling(
    subject: Subject, event: Mapping[str, Any], database: Database
) -> AssertionError | None:
    """Stripe may send two events of one object at once: the end is that of one of the orders."""
    sibling = {**copy.deepcopy(dict(event)), "id": f"{event['id']}_other"}
    pair = (event, sibling)
    expected = []
    try:
        for order in (pair, pair[::-1]):
            end, _ = await run_scenario(subject, database, scenarios.plain(order), pair)
            expected.append(end)
    except NotAccepted:
        return None  # it takes one event of an object only, and says so
    return await _failure_of(subject, pair, database, scenarios.abreast(pair), expected)


def _failure(
    subject: Subject, events: Events, what: str, refused: NotAccepted | None = None
) -> AssertionError:
    numbers = [f"{n}. " if len(events) > 1 else "" for n in range(1, len(events) + 1)]
    named = [
        f"Event: {number}{event['type']} {event['id']}"
        for number, event in zip(numbers, events, strict=True)
    ]
    lines = [f"The plugin {subject.plugin.name} is not exactly once.", *named, what]
    failure = AssertionError("\n".join(lines))
    if refused is not None and refused.cause is not None:
        failure.__cause__ = refused.cause
    return failure


def _remedy(trouble: Trouble, places: set[str]) -> str:
    if trouble is Trouble.AGAIN:
        return _REMEDIES[Trouble.AGAIN]
    if places <= {OBSERVED}:
        return (
            "what is done outside can be done again: give the call a key made of event.id, by "
            "which the other side knows it, and let observe() count each key once."
        )
    if STRIPE in places:
        return (
            "give what is made at Stripe an idempotency key of event.id or of the object's id, "
            "the same in each run."
        )
    return _REMEDIES[trouble]


_NOT_AS_PLAIN = "The end is not that of the plain delivery:"
_NOT_AS_IN_TURN = "The end is not that of one after the other, in either order:"

_WRITE = (
    "write by ctx.collection, ctx.ledger and ctx.snapshots alone, which are kept together with "
    "the mark, and keep no state in the module."
)
_REMEDIES = {
    Trouble.AGAIN: (
        "two runs from the same beginning must end the same: keep no state in the module, take the "
        "time from ctx.now and ids from the event, no random ones. Name in ignore=[…] the fields "
        "that may differ."
    ),
    Trouble.DUPLICATES: _WRITE,
    Trouble.CUT: _WRITE,
    Trouble.BURST: (
        "what was read has changed before it was written: use operators that do not care, such as "
        "$inc and $max, or say in expect=… what the document has to hold still."
    ),
    Trouble.ORDER: (
        "events come in any order: take an event as a hint and look at Stripe, or keep what does "
        "not depend on it: $inc, $max, $addToSet, a document for each object."
    ),
}
