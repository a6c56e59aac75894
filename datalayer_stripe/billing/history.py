"""History of an account's balance, newest first, with the receipts of payments."""

import asyncio
import base64
from collections.abc import Sequence
from datetime import UTC, datetime

from ..errors import InvalidRequest, RateLimited, StripeObjectMissing, StripeUnavailable
from ..limits import AccountRateLimiter
from ..models import LedgerEntry, Model
from ..store import Store
from ..stripe_api.client import StripeClient

MAX_PAGE_SIZE = 100
"""Maximum number of entries of a page."""

# A page of payments without known receipts must not exceed Stripe's rate limit:
# https://docs.stripe.com/rate-limits.
_MAX_CONCURRENT_RECEIPTS = 8

# Timeout of the request for a receipt. The history is shown without it.
_RECEIPT_TIMEOUT_SECONDS = 2.0


class HistoryPage(Model):
    """One page of the history. `next_cursor` selects the next page; None on the last page."""

    entries: tuple[LedgerEntry, ...]
    next_cursor: str | None


class History:
    """Reader of the ledger of one account.

    Args:
        store: The database.
        stripe: The client of Stripe's API.
        rate_limiter: Limits how often an account's history reads receipts from Stripe.
    """

    def __init__(
        self, store: Store, stripe: StripeClient, rate_limiter: AccountRateLimiter
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._rate_limiter = rate_limiter
        self._receipt_slots = asyncio.Semaphore(_MAX_CONCURRENT_RECEIPTS)

    async def page(self, account_uid: str, *, limit: int, cursor: str | None) -> HistoryPage:
        """Return a page of the history.

        Args:
            account_uid: The account.
            limit: The maximum number of entries.
            cursor: The `next_cursor` of the previous page; None for the first page.

        Raises:
            InvalidRequest: The cursor is not valid.
        """
        after = _decode_cursor(cursor) if cursor else None
        # One more row than requested shows whether there is a next page.
        rows = await self._store.ledger.page(account_uid, limit=limit + 1, after=after)
        shown, more = rows[:limit], rows[limit:]
        entries = shown
        if self._may_fetch_receipts(account_uid, shown):
            entries = await asyncio.gather(*map(self._add_receipt, shown))
        return HistoryPage(
            entries=tuple(entries), next_cursor=_encode_cursor(entries[-1]) if more else None
        )

    def _may_fetch_receipts(self, account_uid: str, entries: Sequence[LedgerEntry]) -> bool:
        """Return whether a receipt is missing and the account's rate limit allows fetching it."""
        if all(entry.receipt_is_known for entry in entries):
            return False
        try:
            self._rate_limiter.take(account_uid)
        except RateLimited:
            return False  # the history does not need Stripe
        return True

    async def _add_receipt(self, entry: LedgerEntry) -> LedgerEntry:
        """Return the entry with its receipt, which is fetched from Stripe once and stored."""
        if entry.receipt_is_known:
            return entry
        try:
            async with asyncio.timeout(_RECEIPT_TIMEOUT_SECONDS), self._receipt_slots:
                receipt_url = await self._stripe.retrieve_receipt_url(entry.id)
        except StripeObjectMissing:
            receipt_url = None
        except (StripeUnavailable, RateLimited, TimeoutError):
            return entry  # the receipt is fetched again when the history is read next
        await self._store.ledger.set_receipt_url(entry.id, receipt_url)
        return entry.model_copy(update={"receipt_url": receipt_url})


def _encode_cursor(entry: LedgerEntry) -> str:
    """Return the cursor of the page after an entry."""
    text = f"{entry.created_at.isoformat()} {entry.id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode_cursor(cursor: str) -> tuple[datetime, str]:
    """Return the time and the id of the entry that a cursor names.

    Raises:
        InvalidRequest: The cursor is not valid.
    """
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        created_at, entry_id = text.split(" ")
        moment = datetime.fromisoformat(created_at)
        if moment.tzinfo is None:
            raise ValueError("a time without a time zone")
        return moment.astimezone(UTC), entry_id
    except (ValueError, OverflowError):
        raise InvalidRequest("Invalid request: `cursor` is not one of this history.") from None
