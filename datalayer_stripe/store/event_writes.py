"""Queries and updates of an event's document, which marks and failed attempts share."""

from datetime import datetime
from typing import Any

from pymongo.errors import DuplicateKeyError

from ..errors import AlreadyDone
from ..events import Event
from .bulk_writes import BulkWrites
from .event_records import DONE, FAILED, HANDLED, REJECTED
from .unit_of_work import Document


def not_done(event: Event, plugin_name: str) -> dict[str, Any]:
    """Return a query for the event's document if the plugin has not finished it."""
    return {"_id": event.id, f"handlers.{plugin_name}.status": {"$ne": DONE}}


def not_handled(event: Event, plugin_name: str) -> dict[str, Any]:
    """Return a query for the event's document if the plugin has not finished or deferred it."""
    return {"_id": event.id, f"handlers.{plugin_name}.status": {"$nin": sorted(HANDLED)}}


async def upsert_event(
    database: Any, mongo_session: Any, event: Event, query: Document, update: Document
) -> None:
    """Upsert the event's document, and delete its payload if no plugin has to run again.

    Args:
        database: The driver's database.
        mongo_session: The session of the transaction; None on `memory://`.
        event: The event.
        query: A query for the event's document.
        update: The update.

    Raises:
        AlreadyDone: The document exists and does not match the query.
    """
    try:
        updated = await database.events.update_one(
            query, update, upsert=True, session=mongo_session
        )
    except DuplicateKeyError:
        raise AlreadyDone from None
    if updated.upserted_id is None:
        # The payload may contain a name and an address. It is deleted in the transaction, because a
        # process may crash after the commit, and other deliveries may run concurrently.
        await database.events.update_one(
            _without_open_runs(event), _DELETE_PAYLOAD, session=mongo_session
        )


def add_upsert(bulk: BulkWrites, event: Event, query: Document, update: Document) -> None:
    """Add the writes of :func:`upsert_event` to those of a group."""
    bulk.update("events", query, update, upsert=True)
    bulk.update("events", _without_open_runs(event), _DELETE_PAYLOAD)


_DELETE_PAYLOAD = {"$unset": {"payload": ""}}


def _without_open_runs(event: Event) -> Document:
    """Return a query for the event's document if no plugin has to run again."""
    none = {"$exists": False}
    return {"_id": event.id, f"{FAILED}.0": none, f"{REJECTED}.0": none}


def new_document(event: Event, plugin_name: str, run: Document) -> dict[str, Any]:
    """Return the document of an event that one plugin has run on.

    Args:
        event: The event.
        plugin_name: The plugin.
        run: The state of the plugin's work, with its time `at`.
    """
    return {
        "_id": event.id,
        **_fields(event),
        "received_at": run["at"],
        "handlers": {plugin_name: run},
    }


def run_update(event: Event, plugin_name: str, status: str, at: datetime) -> dict[str, Any]:
    """Return the update that counts an attempt of a plugin and sets its status.

    Args:
        event: The event.
        plugin_name: The plugin.
        status: The new status.
        at: The present time.
    """
    handler = f"handlers.{plugin_name}"
    return {
        "$setOnInsert": {**_fields(event), "received_at": at},
        "$set": {f"{handler}.status": status, f"{handler}.at": at},
        "$inc": {f"{handler}.attempts": 1},
    }


def _fields(event: Event) -> dict[str, Any]:
    """Return the fields of the event's document that never change."""
    fields: dict[str, Any] = {
        "type": event.type,
        "created": event.created,
        "livemode": event.livemode,
        "api_version": event.api_version,
        "object_id": event.object_id,
        "account_uid": event.account_uid,
    }
    if payment_intent_id := event.payment_intent_id:
        fields["payment_intent_id"] = payment_intent_id
    return fields
