"""Accounts: a search, and the whole story of one account."""

import asyncio
from collections.abc import Sequence

from ..errors import NotFound
from ..models import Account, LedgerEntry, SubscriptionSnapshot
from ..store import Store
from ..store.accounts import FoundAccount
from ..store.positions import AccountPosition, RowPosition
from ..store.reversals import ReversedTopUp, cause_of
from ..stripe_api.dashboard import Dashboard
from .cursors import decode_cursor, encode_cursor
from .events import OperatorEvents
from .views import (
    AccountList,
    AccountProfile,
    AccountRow,
    AccountStory,
    CustomerLink,
    Movement,
    MovementList,
    Payment,
    PaymentList,
    Subscription,
)

_CUSTOMER_PREFIX = "cus_"

# An account has one subscription at a time, and each change of the customer is by hand.
_MAX_SUBSCRIPTIONS = 100
_MAX_FORMER_CUSTOMERS = 100


class OperatorAccounts:
    """Finds accounts, and tells the story of one, for an operator.

    Args:
        store: The database.
        events: Lists the account's events.
        dashboard: Makes links to Stripe's dashboard.
    """

    def __init__(self, store: Store, events: OperatorEvents, dashboard: Dashboard) -> None:
        self._store = store
        self._events = events
        self._dashboard = dashboard

    async def page(self, query: str = "", *, limit: int, cursor: str | None = None) -> AccountList:
        """Return a page of accounts.

        Args:
            query: The beginning of a uid or of a handle, or a customer's id, `cus_…`. The empty
                text finds all accounts.
            limit: The maximum number of accounts.
            cursor: The `next_cursor` of the page before.

        Raises:
            InvalidRequest: The cursor is not valid.
            StoreUnavailable: The database does not answer in time.
        """
        position = decode_cursor(cursor, AccountPosition)
        if query.startswith(_CUSTOMER_PREFIX):
            owners = await self._store.customers.accounts_of([query])
            if account_uid := owners.get(query):
                return AccountList(accounts=(await self._row(account_uid),), next_cursor=None)
        page = await self._store.accounts.search(query, limit=limit, after=position)
        return AccountList(
            accounts=tuple(map(_row_view, page.accounts)), next_cursor=encode_cursor(page.next)
        )

    async def _row(self, account_uid: str) -> AccountRow:
        account, customer_id = await asyncio.gather(
            self._store.accounts.get(account_uid), self._store.customers.get(account_uid)
        )
        return _row_view(FoundAccount(account, customer_id))

    async def story(self, account_uid: str, *, limit: int) -> AccountStory:
        """Return all that is known of an account.

        Args:
            account_uid: The account.
            limit: The maximum number of ledger rows, of payments and of events.

        Raises:
            NotFound: Nothing is known of the account.
            StoreUnavailable: The database does not answer in time.
        """
        store = self._store
        details, customer_id, former, snapshots = await asyncio.gather(
            store.accounts.details(account_uid),
            store.customers.get(account_uid),
            store.customers.former_of(account_uid, limit=_MAX_FORMER_CUSTOMERS),
            store.subscriptions.of_account(account_uid, limit=_MAX_SUBSCRIPTIONS),
        )
        ledger, payments, events = await asyncio.gather(
            self.ledger(account_uid, limit=limit),
            self.payments(account_uid, limit=limit),
            self._events.page(account_uid=account_uid, limit=limit),
        )
        known = (details, customer_id, former, snapshots, ledger.ledger, events.events)
        if not any(known):
            raise NotFound("Nothing is known of this account.")
        account = details.account if details else Account(uid=account_uid)
        return AccountStory(
            account=AccountProfile(
                account_uid=account_uid,
                email=details.email if details else None,
                **account.model_dump(exclude={"uid"}),
            ),
            customer=self._link(customer_id) if customer_id else None,
            former_customers=tuple(
                self._link(one.customer_id).model_copy(update={"released_at": one.released_at})
                for one in former
            ),
            subscriptions=tuple(
                map(
                    self._subscription,
                    sorted(snapshots, key=lambda one: one.created_at, reverse=True),
                )
            ),
            ledger=ledger.ledger,
            ledger_cursor=ledger.next_cursor,
            payments=payments.payments,
            payments_cursor=payments.next_cursor,
            events=events.events,
            events_cursor=events.next_cursor,
        )

    async def ledger(
        self, account_uid: str, *, limit: int, cursor: str | None = None
    ) -> MovementList:
        """Return a page of an account's ledger, the newest row first.

        Args:
            account_uid: The account.
            limit: The maximum number of rows.
            cursor: The `next_cursor` of the page before.

        Raises:
            InvalidRequest: The cursor is not valid.
            StoreUnavailable: The database does not answer in time.
        """
        position = decode_cursor(cursor, RowPosition)
        rows = await self._store.ledger.page(
            account_uid, limit=limit + 1, after=position.after if position else None
        )
        return MovementList(
            ledger=tuple(map(self._movement, rows[:limit])), next_cursor=_next_cursor(rows, limit)
        )

    async def payments(
        self, account_uid: str, *, limit: int, cursor: str | None = None
    ) -> PaymentList:
        """Return a page of an account's credited payments, the newest first.

        Args:
            account_uid: The account.
            limit: The maximum number of payments.
            cursor: The `next_cursor` of the page before.

        Raises:
            InvalidRequest: The cursor is not valid.
            StoreUnavailable: The database does not answer in time.
        """
        position = decode_cursor(cursor, RowPosition)
        found = await self._store.reversals.page(
            account_uid, limit=limit + 1, after=position.after if position else None
        )
        return PaymentList(
            payments=tuple(map(self._payment, found[:limit])),
            next_cursor=_next_cursor([one.entry for one in found], limit),
        )

    def _link(self, customer_id: str) -> CustomerLink:
        return CustomerLink(customer_id=customer_id, dashboard_url=self._dashboard.url(customer_id))

    def _movement(self, entry: LedgerEntry) -> Movement:
        # A refund has no page of its own in the dashboard: its payment shows it.
        url = self._dashboard.url(cause_of(entry)) or self._dashboard.url(entry.reverses)
        return Movement(
            **entry.model_dump(exclude={"account_uid", "accepted", "receipt_url"}),
            dashboard_url=url,
        )

    def _payment(self, top_up: ReversedTopUp) -> Payment:
        entry = top_up.entry
        fields = {"id", "credits", "amount", "currency", "price_id", "created_at"}
        return Payment(
            **entry.model_dump(include=fields),
            amount_refunded=top_up.amount,
            reversals={name: one.amount for name, one in top_up.reversals.items()},
            open_disputes=top_up.open_disputes,
            dashboard_url=self._dashboard.url(entry.id),
        )

    def _subscription(self, snapshot: SubscriptionSnapshot) -> Subscription:
        return Subscription(
            **snapshot.model_dump(include=set(Subscription.model_fields)),
            dashboard_url=self._dashboard.url(snapshot.id),
        )


def _next_cursor(rows: Sequence[LedgerEntry], limit: int) -> str | None:
    """Return the cursor of the page after the first `limit` rows; None if there are no others."""
    if len(rows) <= limit:
        return None
    last = rows[limit - 1]
    return encode_cursor(RowPosition.of(last.created_at, last.id))


def _row_view(found: FoundAccount) -> AccountRow:
    account = found.account
    return AccountRow(
        account_uid=account.uid,
        customer_id=found.customer_id,
        **account.model_dump(include={"handle", "credits", "debt", "updated_at"}),
    )
