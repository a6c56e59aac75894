"""What several collections hold about one account, read with one command."""

from typing import Any

from ..models import Account, LedgerEntry, Model, SubscriptionSnapshot
from .accounts import account_of
from .driver import Document, aggregate
from .errors import translate_errors
from .ledger import effective_entry
from .subscriptions import snapshot_of

# Each database has this document, so an account that has no document yet is found, too.
_ANCHOR: Document = {"$match": {"_id": "mode"}}


class Overview(Model):
    """An account, its customer and the snapshots of its subscriptions, in no particular order."""

    account: Account
    customer_id: str | None
    snapshots: tuple[SubscriptionSnapshot, ...]


class TopUpOverview(Model):
    """The row of a top-up, or None, and an account, whose balance includes the row's credits."""

    entry: LedgerEntry | None
    account: Account


class Overviews:
    """Reads of several collections at once. One command takes one round trip to the server."""

    def __init__(self, database: Any) -> None:
        self._service = database.service

    @translate_errors
    async def of_account(self, account_uid: str) -> Overview:
        """Return an account with its customer and its subscriptions.

        Args:
            account_uid: The account.
        """
        found = await self._join(
            {"uid": account_uid},
            ("accounts", "uid", "_id"),
            ("customers", "uid", "_id"),
            ("subscriptions", "uid", "account_uid"),
        )
        customer: Document = next(iter(found["customers"]), {})
        return Overview(
            account=account_of(account_uid, next(iter(found["accounts"]), {})),
            customer_id=customer.get("customer_id"),
            snapshots=tuple(map(snapshot_of, found["subscriptions"])),
        )

    @translate_errors
    async def of_top_up(self, account_uid: str, payment_intent_id: str) -> TopUpOverview:
        """Return the ledger's row of a top-up, and the account that asks for it.

        Args:
            account_uid: The account that asks. The row may belong to another account, also because
                a repair has corrected its account.
            payment_intent_id: The PaymentIntent, `pi_…`.
        """
        # The stages run in this order. The account is read last, so that its balance includes the
        # credits of the row.
        found = await self._join(
            {"uid": account_uid, "payment": payment_intent_id},
            ("ledger", "payment", "_id"),
            ("accounts", "uid", "_id"),
        )
        row = next(iter(found["ledger"]), None)
        return TopUpOverview(
            entry=effective_entry(row) if row else None,
            account=account_of(account_uid, next(iter(found["accounts"]), {})),
        )

    async def _join(self, keys: Document, *lookups: tuple[str, str, str]) -> Document:
        """Return the documents of several collections, by the collection's name.

        Args:
            keys: Values to look up, by a name.
            lookups: A collection, the name of the value, and the field that equals it.
        """
        literals = {name: {"$literal": value} for name, value in keys.items()}
        stages: list[Document] = [_ANCHOR, {"$project": literals}]
        for collection, key, field in lookups:
            joined = {
                "from": collection,
                "localField": key,
                "foreignField": field,
                "as": collection,
            }
            stages.append({"$lookup": joined})
        [found] = await aggregate(self._service, stages)
        return found
