"""Rebuild which Stripe customer belongs to which account, from Stripe's customers.

The customers that we make carry their account's uid in their metadata. After a database was
restored from a backup, those that were made since then are unknown here: without them an account
would get a second customer, and could subscribe a second time.

Of several customers of one account, the one that it has here stays, as long as Stripe has it.
Otherwise the one with a running subscription to one of our products is chosen, and else the oldest
one. The others are kept as former customers: what they have paid is credited.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from ..billing.metadata import account_of_customer
from ..billing.subscriptions import Subscriptions
from ..billing.top_ups import is_customer_mismatch
from ..clock import Clock
from ..errors import Reject, StripeCustomerMissing, StripeObjectMissing
from ..events import Event
from ..models import RUNNING_STATUSES
from ..store import Store
from ..stripe_api.client import StripeClient
from ..stripe_api.objects import StripeData, id_of

CUSTOMER_DELETED = "customer.deleted"


class CustomerFinding(NamedTuple):
    """A customer whose account is not recorded here, or that was deleted and is still in use."""

    customer_id: str
    detail: str


class CustomerSweep:
    """One run. Give it the events of deleted customers first, and then all customers.

    In a dry run nothing is written.
    """

    def __init__(
        self,
        store: Store,
        stripe: StripeClient,
        subscriptions: Subscriptions,
        clock: Clock,
        *,
        dry_run: bool,
    ) -> None:
        self._customers = store.customers
        self._stripe = stripe
        self._subscriptions = subscriptions
        self._clock = clock
        self._dry_run = dry_run
        self._unknown: dict[str, list[StripeData]] = defaultdict(list)
        self._released = set[str]()

    async def release(self, events: Sequence[StripeData]) -> list[CustomerFinding]:
        """Release those of the deleted customers that accounts still buy with.

        Args:
            events: a page of `customer.deleted` events, as Stripe lists them.

        Returns:
            The customers that were released, or would be.
        """
        deleted = [str(event["data"]["object"]["id"]) for event in events]
        found = []
        for customer_id, account_uid in (await self._customers.in_use(deleted)).items():
            found.append(await self._release(customer_id, account_uid))
        return found

    async def take(self, page: Sequence[StripeData], created_before: datetime) -> None:
        """Note those of a page of Stripe's customers that name an account and are not known here.

        Args:
            page: customers, as Stripe lists them.
            created_before: what is younger may be about to be recorded, and is not noted.
        """
        named = [(account_of_customer(customer), customer) for customer in page]
        ours = [(account_uid, customer) for account_uid, customer in named if account_uid]
        known = await self._customers.accounts_of([customer["id"] for _, customer in ours])
        for account_uid, customer in ours:
            is_old = customer["created"] <= created_before.timestamp()
            if is_old and customer["id"] not in known:
                self._unknown[account_uid].append(customer)

    async def rebuild(self) -> AsyncIterator[CustomerFinding]:
        """Give each account of the noted customers its customer, and yield what was recorded."""
        for account_uid, candidates in self._unknown.items():
            present = await self._customers.get(account_uid)
            if present in self._released:  # in a dry run it is still there
                present = None
            if present is not None and not await self._exists(present):
                yield await self._release(present, account_uid)
                present = None
            if present is None:
                chosen = await self._choose(candidates)
                present = await self._adopt(account_uid, chosen)
                await self._read_subscriptions(account_uid, chosen)
                yield CustomerFinding(chosen, f"the customer of {account_uid}")
            for customer in candidates:
                if present not in (None, customer["id"]):
                    yield CustomerFinding(customer["id"], f"one more customer of {account_uid}")
                    if not self._dry_run:
                        await self._customers.keep_as_former(
                            account_uid, customer["id"], self._clock()
                        )
                        await self._read_subscriptions(account_uid, customer["id"])

    async def _adopt(self, account_uid: str, customer_id: str) -> str | None:
        """Give the account the customer; return the one that it has then."""
        if self._dry_run:
            return customer_id
        await self._customers.adopt(account_uid, customer_id, self._clock())
        # A purchase that was made meanwhile may have recorded another one.
        return await self._customers.get(account_uid)

    async def _read_subscriptions(self, account_uid: str, customer_id: str) -> None:
        """Keep what the customer is subscribed to, so that the account subscribes to no second."""
        if not self._dry_run:
            with suppress(Reject, StripeCustomerMissing):
                await self._subscriptions.refresh_of_customer(account_uid, customer_id)

    async def _release(self, customer_id: str, account_uid: str) -> CustomerFinding:
        self._released.add(customer_id)
        if not self._dry_run:
            await self._customers.release(customer_id, self._clock())
        return CustomerFinding(customer_id, f"deleted, and in use by {account_uid}")

    async def _exists(self, customer_id: str) -> bool:
        try:
            customer = await self._stripe.retrieve_customer(customer_id)
        except StripeObjectMissing:
            return False
        return not customer.get("deleted")

    async def _choose(self, candidates: Sequence[StripeData]) -> str:
        oldest_first = sorted(candidates, key=lambda one: (one["created"], one["id"]))
        if len(oldest_first) > 1:
            for customer in oldest_first:
                if await self._is_subscribed(customer["id"]):
                    return str(customer["id"])
        return str(oldest_first[0]["id"])

    async def _is_subscribed(self, customer_id: str) -> bool:
        try:
            listed = await self._stripe.list_subscriptions(customer_id)
        except StripeCustomerMissing:
            return False
        running = [one for one in listed if one["status"] in RUNNING_STATUSES]
        return any(self._subscriptions.is_ours(one) for one in running)


async def rejected_for_its_customer(
    store: Store, event: Event, plugin_names: Collection[str]
) -> bool:
    """Return whether these plugins rejected a payment whose customer is its account's by now.

    The account's customers may have been rebuilt since then.
    """
    customer_id = id_of(event.object.get("customer"))
    kept = await store.events.get(event.id)
    if customer_id is None or kept is None:
        return False
    runs = [kept.handlers[name] for name in plugin_names if name in kept.handlers]
    if not any(is_customer_mismatch(run.error, customer_id) for run in runs):
        return False
    return await store.customers.account_of(customer_id) == event.account_uid
