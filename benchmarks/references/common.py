"""What the reference servers share: the signature check, the documents and the HTTP server.

A reference is the least code that does a part of the service's work. It has no isolation, limits,
metrics or log.
"""

import asyncio
import hashlib
import hmac
import importlib.util
import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from motor.motor_asyncio import AsyncIOMotorClient
from tornado.web import Application, HTTPError, RequestHandler

PLUGIN = "top-up-credits"
DONE = f"handlers.{PLUGIN}.status"

_TOLERANCE_SECONDS = 300


class Delivery(NamedTuple):
    """The three writes of a delivery: its event, its ledger row and its account's credits."""

    event_id: str
    event_update: dict[str, Any]
    row_id: str
    row: dict[str, Any]
    account_uid: str
    credits: int
    at: datetime

    @property
    def event_query(self) -> dict[str, Any]:
        """The query of the upsert, which fails if the event is done."""
        return {"_id": self.event_id, DONE: {"$ne": "done"}}

    @property
    def row_update(self) -> dict[str, Any]:
        """The update that inserts the ledger row."""
        return {"$setOnInsert": self.row}


class SignedHandler(RequestHandler):
    """Handler that has checked the signature before `post` is called."""

    def prepare(self) -> None:
        secret = os.environ["WEBHOOK_SECRET"].encode()
        signature = self.request.headers.get("Stripe-Signature")
        if signature is None:
            raise HTTPError(400)
        fields = dict(field.split("=", 1) for field in signature.split(","))
        signed = fields["t"].encode() + b"." + self.request.body
        expected = hmac.new(secret, signed, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(expected, fields["v1"]):
            raise HTTPError(400)
        if abs(time.time() - int(fields["t"])) > _TOLERANCE_SECONDS:
            raise HTTPError(400)


def read_delivery(body: bytes) -> Delivery:
    """Return what a `payment_intent.succeeded` event writes."""
    event = json.loads(body)
    intent = event["data"]["object"]
    metadata = intent["metadata"]
    at = datetime.now(UTC)
    update = {
        "$setOnInsert": {
            "type": event["type"],
            "created": event["created"],
            "livemode": event["livemode"],
            "api_version": event["api_version"],
            "object_id": intent["id"],
            "account_uid": metadata["account_uid"],
            "received_at": at,
        },
        "$set": {DONE: "done", f"handlers.{PLUGIN}.at": at},
        "$inc": {f"handlers.{PLUGIN}.attempts": 1},
    }
    row = {
        "account_uid": metadata["account_uid"],
        "kind": "top-up",
        "credits": int(metadata["credits"]),
        "amount": intent["amount_received"],
        "currency": intent["currency"],
        "price_id": metadata["price_id"],
        "event_id": event["id"],
        "reverses": None,
        "created_at": at,
    }
    uid = metadata["account_uid"]
    return Delivery(event["id"], update, intent["id"], row, uid, row["credits"], at)


def open_client() -> AsyncIOMotorClient[dict[str, Any]]:
    """Return a client of the database in MONGODB_URL."""
    return AsyncIOMotorClient(os.environ["MONGODB_URL"])


def serve(handler: type[RequestHandler], **resources: Callable[[], Any]) -> None:
    """Serve a handler on PORT, on the same event loop as the service: uvloop if it is installed.

    Args:
        handler: The handler of all routes.
        resources: Create the handler's settings, on the running loop.
    """

    async def run() -> None:
        settings = {name: create() for name, create in resources.items()}
        Application([(".*", handler)], **settings).listen(int(os.environ["PORT"]), "127.0.0.1")
        await asyncio.Event().wait()

    if importlib.util.find_spec("uvloop"):
        import uvloop  # noqa: PLC0415 (it is optional)

        uvloop.run(run())
    else:
        asyncio.run(run())
