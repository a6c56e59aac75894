"""Decide whether a rejected event can succeed now, because what it needed has arrived since."""

from collections.abc import Collection
from datetime import timedelta

from ..billing.top_ups import is_customer_mismatch
from ..events import PAYMENT_SUCCEEDED, Event
from ..store import Store
from ..store.event_records import HandlerRun
from ..stripe_api.objects import id_of

# A plugin's run may have begun before the credits were added, and have ended after that.
_MAX_RUN_DURATION = timedelta(minutes=5)


async def can_retry_rejection(store: Store, event: Event, plugin_names: Collection[str]) -> bool:
    """Return whether plugins have rejected an event only because it arrived too early.

    A refund or a dispute needs its top-up. A payment needs its customer to belong to its account;
    the customers of the account may have been rebuilt since then.

    Args:
        store: The database.
        event: The event.
        plugin_names: The plugins that have rejected it.
    """
    if event.type == PAYMENT_SUCCEEDED:
        return await _is_customer_known_now(store, event, plugin_names)
    return await _is_top_up_credited_since(store, event, plugin_names)


async def _is_customer_known_now(store: Store, event: Event, plugin_names: Collection[str]) -> bool:
    customer_id = id_of(event.object.get("customer"))
    if customer_id is None:
        return False
    runs = await _runs(store, event, plugin_names)
    if not any(is_customer_mismatch(run.error, customer_id) for run in runs):
        return False
    return await store.customers.account_of(customer_id) == event.account_uid


async def _is_top_up_credited_since(
    store: Store, event: Event, plugin_names: Collection[str]
) -> bool:
    payment_intent_id = event.payment_intent_id
    if payment_intent_id is None:
        return False
    top_up = (await store.ledger.by_ids([payment_intent_id])).get(payment_intent_id)
    if top_up is None:
        return False
    runs = await _runs(store, event, plugin_names)
    return any(run.at < top_up.created_at + _MAX_RUN_DURATION for run in runs)


async def _runs(store: Store, event: Event, plugin_names: Collection[str]) -> list[HandlerRun]:
    record = await store.events.get(event.id)
    handlers = record.handlers if record else {}
    return [handlers[name] for name in plugin_names if name in handlers]
