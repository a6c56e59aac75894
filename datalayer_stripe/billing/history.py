"""What has moved an account's balance, newest first, with the receipts that Stripe has."""

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

# A page full of payments whose receipts nobody has asked for yet must not use up Stripe's patience:
# docs.stripe.com/rate-limits.
_MAX_CONCURRENT_RECEIPTS = 8
# Nor are all of them worth a long wait.
_RECEIPT_SECONDS = 2.0


class HistoryPage(Model):
    """`next_cursor` is what to ask for the next page with; None at the end."""

    entries: tuple[LedgerEntry, ...]
    next_cursor: str | None


class History:
    def __init__(
        self, store: Store, stripe: StripeClient, rate_limiter: AccountRateLimiter
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._rate_limiter = rate_limiter
        self._asking = asyncio.Semaphore(_MAX_CONCURRENT_RECEIPTS)

    async def page(self, account_uid: str, *, limit: int, cursor: str | None) -> HistoryPage:
        """Up to `limit` movements, after the page that gave `cursor`.

        Raises InvalidRequest for a cursor that is none of ours.
        """
        after = _position(cursor) if cursor else None
        # One more than is shown says whether there is more.
        rows = await self._store.ledger.page(account_uid, limit=limit + 1, after=after)
        shown, more = rows[:limit], rows[limit:]
        entries = shown
        if self._may_ask_stripe(account_uid, shown):
            entries = await asyncio.gather(*map(self._with_receipt, shown))
        return HistoryPage(
            entries=tuple(entries), next_cursor=_cursor(entries[-1]) if more else None
        )

    def _may_ask_stripe(self, account_uid: str, entries: Sequence[LedgerEntry]) -> bool:
        """Whether a receipt is missing, and the account's rate_limiter lets us ask for it."""
        if all(entry.receipt_is_known for entry in entries):
            return False
        try:
            self._rate_limiter.take(account_uid)
        except RateLimited:
            return False  # the history is ours to show
        return True

    async def _with_receipt(self, entry: LedgerEntry) -> LedgerEntry:
        """The entry with its receipt, which Stripe is asked for once in its life."""
        if entry.receipt_is_known:
            return entry
        try:
            async with asyncio.timeout(_RECEIPT_SECONDS), self._asking:
                receipt_url = await self._stripe.retrieve_receipt_url(entry.id)
        except StripeObjectMissing:
            receipt_url = None
        except (StripeUnavailable, RateLimited, TimeoutError):
            return entry  # the history is ours to show; the receipt comes with the next look
        await self._store.ledger.keep_receipt(entry.id, receipt_url)
        return entry.model_copy(update={"receipt_url": receipt_url})


def _cursor(entry: LedgerEntry) -> str:
    text = f"{entry.created_at.isoformat()} {entry.id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _position(cursor: str) -> tuple[datetime, str]:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        at, entry_id = text.split(" ")
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None:
            raise ValueError("a time without its zone")
        return moment.astimezone(UTC), entry_id
    except (ValueError, OverflowError):
        raise InvalidRequest("Invalid request: `cursor` is not one of this history.") from None
