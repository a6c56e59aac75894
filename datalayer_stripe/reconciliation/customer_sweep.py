"""Rebuild which Stripe customer belongs to which account, from Stripe's customers.

The metadata of a customer that the service has created contains the account's uid. After a database
was restored from a backup, it does not know the customers that were created after the backup. An
account would get a second customer, and could subscribe a second time.

If an account has several customers, its known customer stays, as long as Stripe has it. Otherwise
the customer with a running subscription to one of the service's products is chosen, or else the
oldest. The others are stored as former customers, so that their payments are credited.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

from ..billing.metadata import account_of_customer
from ..billing.subscriptions import Subscriptions
from ..clock import Clock
from ..errors import Reject, StripeCustomerMissing, StripeObjectMissing
from ..models import RUNNING_STATUSES
from ..store import Store
from ..stripe_api.client import StripeClient
from ..stripe_api.objects import StripeData


class CustomerFinding(NamedTuple):
    """A customer that the database does not know, or that was deleted and is still in use."""

    customer_id: str
    detail: str


class CustomerSweep:
    """One sweep of the customers.

    Call :meth:`release_deleted` for the events of deleted customers, then :meth:`collect` for all
    customers, and then :meth:`rebuild`.

    Args:
        store: The database.
        stripe: The client of Stripe's API.
        subscriptions: Reads the subscriptions of rebuilt customers.
        clock: Returns the present time.
        dry_run: Whether to report only, and to change nothing.
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

    async def release_deleted(self, events: Sequence[StripeData]) -> list[CustomerFinding]:
        """Release the deleted customers that accounts still use for purchases.

        Args:
            events: A page of `customer.deleted` events, as Stripe lists them.

        Returns:
            The customers that were released, or would be.
        """
        deleted = [str(event["data"]["object"]["id"]) for event in events]
        found = []
        for customer_id, account_uid in (await self._customers.in_use(deleted)).items():
            found.append(await self._release(customer_id, account_uid))
        return found

    async def collect(self, page: Sequence[StripeData], created_before: datetime) -> None:
        """Collect the customers of a page that belong to an account and are unknown here.

        Args:
            page: Customers, as Stripe lists them.
            created_before: Younger customers are skipped: a request may be about to record them.
        """
        owners = [(account_of_customer(customer), customer) for customer in page]
        ours = [(account_uid, customer) for account_uid, customer in owners if account_uid]
        known = await self._customers.accounts_of([customer["id"] for _, customer in ours])
        for account_uid, customer in ours:
            is_old = customer["created"] <= created_before.timestamp()
            if is_old and customer["id"] not in known:
                self._unknown[account_uid].append(customer)

    async def rebuild(self) -> AsyncIterator[CustomerFinding]:
        """Record the collected customers, and yield each as a finding."""
        for account_uid, candidates in self._unknown.items():
            present = await self._customers.get(account_uid)
            if present in self._released:  # A dry run has not removed it.
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
                    yield CustomerFinding(
                        customer["id"], f"an additional customer of {account_uid}"
                    )
                    if not self._dry_run:
                        await self._customers.add_former(account_uid, customer["id"], self._clock())
                        await self._read_subscriptions(account_uid, customer["id"])

    async def _adopt(self, account_uid: str, customer_id: str) -> str | None:
        """Assign the customer to the account; return the account's customer afterwards."""
        if self._dry_run:
            return customer_id
        await self._customers.adopt(account_uid, customer_id, self._clock())
        # A concurrent purchase may have recorded another customer.
        return await self._customers.get(account_uid)

    async def _read_subscriptions(self, account_uid: str, customer_id: str) -> None:
        """Store the customer's subscriptions, so that the account cannot subscribe again."""
        if not self._dry_run:
            known = await self._subscriptions.snapshots_of(account_uid)
            with suppress(Reject, StripeCustomerMissing):
                await self._subscriptions.refresh_of_customer(account_uid, customer_id, known)

    async def _release(self, customer_id: str, account_uid: str) -> CustomerFinding:
        self._released.add(customer_id)
        if not self._dry_run:
            await self._customers.release(customer_id, self._clock())
        return CustomerFinding(customer_id, f"deleted at Stripe, but still used by {account_uid}")

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
