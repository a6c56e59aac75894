"""Give accounts their customers: existing customers of Stripe, or new ones.

A second run does only what is left, and concurrent runs have the effect of one. An account or a
customer that is linked otherwise is never changed, so that no payment moves to another account.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from pydantic import ValidationError

from ..billing.customers import Customers
from ..billing.metadata import account_of_customer
from ..billing.subscriptions import Subscriptions
from ..clock import Clock
from ..errors import (
    Conflict,
    InvalidRequest,
    Reject,
    StripeObjectMissing,
)
from ..models import Identity
from ..store import Store
from ..stripe_api.client import StripeClient
from ..stripe_api.objects import StripeData, account_uid_of, metadata_of
from ..stripe_api.rate_limit import SWEEP_WAIT_SECONDS, own_calls
from .account_batches import BATCH_SIZE, OnResult, Sleep, batches, run_all, with_retries
from .customer_links import CustomerResult, Link, Outcome, without_contradictions

_CHANGED = "changed at the same time: run the command again"


class CustomerImport:
    """Links existing customers to accounts.

    Args:
        store: The database.
        stripe: The client of Stripe's API.
        subscriptions: Reads the subscriptions of linked customers.
        clock: Returns the present time.
        livemode: The mode of the service.
        dry_run: Whether to report only, and to change nothing.
        on_result: Called with the result of each link.
        sleep: Waits after a call that the rate limit refused.
    """

    def __init__(
        self,
        store: Store,
        stripe: StripeClient,
        subscriptions: Subscriptions,
        clock: Clock,
        *,
        livemode: bool,
        dry_run: bool = False,
        on_result: OnResult,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._subscriptions = subscriptions
        self._clock = clock
        self._livemode = livemode
        self._dry_run = dry_run
        self._on_result = on_result
        self._sleep = sleep

    async def links_in_metadata(
        self, key: str, on_page: Callable[[int], None] = lambda _: None
    ) -> tuple[list[Link], list[CustomerResult]]:
        """Read which account each customer names in its metadata.

        Args:
            key: The metadata key of the account's uid.
            on_page: Called with the number of customers that each page has.

        Returns:
            The links, and a refusal of each customer whose account is not usable or not unique.
        """
        links, refused = [], []
        with own_calls(SWEEP_WAIT_SECONDS):
            async for page in self._stripe.customer_pages():
                for found in (_link_in_metadata(customer, key) for customer in page):
                    if isinstance(found, Link):
                        links.append(found)
                    elif found is not None:
                        refused.append(found)
                on_page(len(page))
        single, contradictions = without_contradictions(links)
        return single, refused + contradictions

    async def run(self, links: Sequence[Link]) -> None:
        """Link the customers that are not linked yet.

        Raises:
            RequestError: Stripe or the database does not answer. The results so far were reported.
        """
        with own_calls(SWEEP_WAIT_SECONDS):
            for batch in batches(links):
                await self._run_batch(batch)

    async def _run_batch(self, links: Sequence[Link]) -> None:
        customers = self._store.customers
        present = await customers.of_accounts([link.account_uid for link in links])
        ids = [link.customer_id for link in links]
        owners = await customers.accounts_of(ids)
        unread = await customers.unread_among(ids)

        async def link_one(link: Link) -> CustomerResult:
            known = _known(link, present.get(link.account_uid), owners.get(link.customer_id))
            if known is None:
                return await with_retries(lambda: self._link(link), self._sleep)
            is_linked = known.outcome is Outcome.ALREADY and not self._dry_run
            if is_linked and link.customer_id in unread:
                # A run has ended between the link and the subscriptions.
                await with_retries(lambda: self._read_subscriptions(link), self._sleep)
            return known

        await run_all(links, link_one, self._on_result)

    async def _link(self, link: Link) -> CustomerResult:
        try:
            customer = await self._stripe.retrieve_customer(link.customer_id)
            if customer.get("deleted"):
                return link.result(Outcome.REFUSED, "the customer is deleted at Stripe")
            if customer["livemode"] is not self._livemode:
                return link.result(Outcome.REFUSED, "the customer is of the other mode")
            ours = await self._subscriptions_of(link.customer_id)
            others = await self._other_owners(link, customer, ours)
        except StripeObjectMissing:
            mode = "live" if self._livemode else "test"
            return link.result(Outcome.REFUSED, f"Stripe has no such customer in {mode} mode")
        if others:
            return link.result(Outcome.REFUSED, f"the customer belongs to account {others[0]}")
        return link.result(Outcome.ADDED) if self._dry_run else await self._adopt(link, ours)

    async def _adopt(self, link: Link, subscriptions: Sequence[StripeData]) -> CustomerResult:
        customers = self._store.customers
        await customers.adopt(link.account_uid, link.customer_id, self._clock(), is_unread=True)
        # A purchase or another run may have linked one of the two in the meantime.
        present = await customers.get(link.account_uid)
        owners = await customers.accounts_of([link.customer_id])
        result = _known(link, present, owners.get(link.customer_id))
        if result is None or result.outcome is not Outcome.ALREADY:
            return result or link.result(Outcome.REFUSED, _CHANGED)
        await self._store_all(link, subscriptions)
        return link.result(Outcome.ADDED)

    async def _read_subscriptions(self, link: Link) -> None:
        with suppress(StripeObjectMissing):
            await self._store_all(link, await self._subscriptions_of(link.customer_id))

    async def _store_all(self, link: Link, subscriptions: Sequence[StripeData]) -> None:
        """Store the customer's subscriptions, so that the account cannot subscribe a second time.

        Each is read again, with a ticket: events that came before the link have taken some.
        """
        for subscription in subscriptions:
            with suppress(Reject):
                await self._subscriptions.refresh(subscription["id"])
        await self._store.customers.mark_read(link.customer_id)

    async def _subscriptions_of(self, customer_id: str) -> list[StripeData]:
        listed = await self._stripe.list_subscriptions(customer_id)
        return [one for one in listed if self._subscriptions.is_ours(one)]

    async def _other_owners(
        self, link: Link, customer: StripeData, subscriptions: Sequence[StripeData]
    ) -> list[str]:
        """Return the other accounts that the customer was created for, or that it has paid for."""
        owners = {
            account_of_customer(customer),
            *await self._store.subscriptions.accounts_of_customer(link.customer_id),
            *map(account_uid_of, subscriptions),
        }
        async for page in self._stripe.payment_intent_pages(customer_id=link.customer_id):
            owners |= {account_uid_of(intent) for intent in page}
        return sorted(owner for owner in owners if owner not in (None, link.account_uid))


class CustomerSync:
    """Creates a customer for each account that lacks one.

    Args:
        store: The database.
        customers: Creates the customers.
        dry_run: Whether to report only, and to change nothing.
        on_result: Called with the result of each account.
        sleep: Waits after a call that the rate limit refused.
    """

    def __init__(
        self,
        store: Store,
        customers: Customers,
        *,
        dry_run: bool = False,
        on_result: OnResult,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._store = store
        self._customers = customers
        self._dry_run = dry_run
        self._on_result = on_result
        self._sleep = sleep

    async def run(self, accounts: Sequence[Identity]) -> None:
        """Create the missing customers of these accounts.

        Raises:
            RequestError: Stripe or the database does not answer. The results so far were reported.
        """
        for batch in batches(accounts):
            await self._run_batch(batch)

    async def run_for_all(self) -> None:
        """Create the missing customers of all accounts that the database knows.

        Raises:
            RequestError: Stripe or the database does not answer. The results so far were reported.
        """
        after: str | None = ""
        while after is not None:
            batch, after = await self._store.accounts.page_after(after, BATCH_SIZE)
            await self._run_batch(batch)

    async def _run_batch(self, accounts: Sequence[Identity]) -> None:
        present = await self._store.customers.of_accounts([one.account_uid for one in accounts])

        async def sync_one(identity: Identity) -> CustomerResult:
            account_uid = identity.account_uid
            customer_id = present.get(account_uid)
            if customer_id is not None:
                return CustomerResult(Outcome.ALREADY, account_uid, customer_id)
            if self._dry_run:
                return CustomerResult(Outcome.ADDED, account_uid)
            try:
                customer_id = await with_retries(
                    lambda: self._customers.ensure(identity), self._sleep
                )
            except InvalidRequest:
                # Stripe's message may repeat the address.
                reason = "Stripe refuses to create the customer"
            except Conflict:
                reason = _CHANGED
            else:
                return CustomerResult(Outcome.ADDED, account_uid, customer_id)
            return CustomerResult(Outcome.REFUSED, account_uid, reason=reason)

        with own_calls(SWEEP_WAIT_SECONDS):
            await run_all(accounts, sync_one, self._on_result)


def _link_in_metadata(customer: StripeData, key: str) -> Link | CustomerResult | None:
    """Return the account that a customer's metadata names, or a refusal, or None without one."""
    account_uid = metadata_of(customer).get(key)
    if not account_uid:
        return None
    try:
        return Link(account_uid=account_uid, customer_id=customer["id"])
    except ValidationError as error:
        fields = {fault["loc"][0] for fault in error.errors(include_input=False)}
    if "account_uid" in fields:
        reason = f"metadata {key} is not the uid of an account"
    else:
        reason = "the customer's id has not the form cus_…"
    return CustomerResult(Outcome.REFUSED, None, customer["id"], reason=reason)


def _known(link: Link, present: str | None, owner: str | None) -> CustomerResult | None:
    """Return the result of a link that the database decides, or None.

    Args:
        link: The account and the customer.
        present: The customer that the account uses.
        owner: The account that the customer belongs or belonged to.
    """
    if present == link.customer_id:
        return link.result(Outcome.ALREADY)
    if owner == link.account_uid:
        reason = "a former customer of the account, which is not used again"
    elif owner is not None:
        reason = f"the customer belongs to account {owner}"
    elif present is not None:
        reason = f"the account has the customer {present}"
    else:
        return None
    return link.result(Outcome.REFUSED, reason)
