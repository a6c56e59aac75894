"""Documents as the service stores them, for databases that a test fills itself."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def ledger_row(
    row_id: str, *, kind: str = "top-up", account: str = "a", at: datetime = NOW, **fields: Any
) -> dict[str, Any]:
    """Return a row of the ledger."""
    return {
        "_id": row_id,
        "account_uid": account,
        "kind": kind,
        "credits": 50,
        "amount": 500,
        "currency": "usd",
        "price_id": "price_1",
        "event_id": f"evt_of_{row_id}",
        "created_at": at,
        "reverses": None,
        **fields,
    }


def event(
    event_id: str,
    *,
    at: datetime = NOW,
    failed: Sequence[str] = (),
    rejected: Sequence[str] = (),
    **fields: Any,
) -> dict[str, Any]:
    """Return an event on which the plugin `done` has run, and those that have failed it."""
    statuses = {
        "done": "done",
        **dict.fromkeys(failed, "failed"),
        **dict.fromkeys(rejected, "rejected"),
    }
    runs = {
        name: {"status": status, "at": at, "attempts": 1, "error": None}
        for name, status in statuses.items()
    }
    opened = {"failed": list(failed)} if failed else {}
    opened |= {"rejected": list(rejected)} if rejected else {}
    if opened:
        opened["payload"] = '{"secret": "payload"}'
    return {
        "_id": event_id,
        "type": "payment_intent.succeeded",
        "created": int(at.timestamp()),
        "livemode": False,
        "api_version": "2025-03-31",
        "object_id": f"pi_of_{event_id}",
        "account_uid": "a",
        "received_at": at,
        "handlers": runs,
        **opened,
        **fields,
    }


def job(event_id: str, plugin: str) -> dict[str, Any]:
    """Return a job of a deferred plugin."""
    return {"_id": f"{event_id}:{plugin}", "plugin": plugin, "due_at": NOW, "until": NOW}
