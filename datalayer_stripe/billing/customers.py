"""Find or create the Stripe customer of an account. An account has at most one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..clock import Clock
from ..errors import Conflict, InvalidRequest, StripeCustomerMissing
from ..models import Identity
from ..store import Store
from ..store.customers import Claim
from ..stripe_api.client import StripeClient
from ..stripe_api.objects import StripeData
from .idempotency import IdempotentRequests
from .metadata import customer_metadata

R = TypeVar("R")


class Customers:
    """The Stripe customers of accounts.

    Args:
        store: The database.
        stripe: The client of Stripe's API.
        clock: Returns the present time.
        requests: Sends the requests that create customers.
    """

    def __init__(
        self, store: Store, stripe: StripeClient, clock: Clock, requests: IdempotentRequests
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._clock = clock
        self._requests = requests

    async def find(self, account_uid: str) -> str | None:
        """Return the account's customer id, or None if it has no customer.

        Args:
            account_uid: The account.
        """
        known = await self._store.customers.get(account_uid)
        return known or await self._find_subscriber(account_uid)

    async def ensure(self, identity: Identity) -> str:
        """Return the account's customer id; create the customer at Stripe if there is none.

        The claim is written first. So concurrent requests send the same parameters with the same
        idempotency key, and get the same customer.

        Args:
            identity: The account. Name and e-mail address become those of a new customer.

        Raises:
            Conflict: Another request released the customer, or gave it to another account.
        """
        account_uid = identity.account_uid
        claim = await self._store.customers.claim(identity, self._clock())
        if claim.customer_id is not None:
            return claim.customer_id
        _, customer_id = await asyncio.gather(
            self._store.accounts.describe(
                account_uid, handle=identity.handle, email=identity.email
            ),
            self._find_subscriber(account_uid),
        )
        if customer_id is None:
            customer_id = await self._create(claim)
        assigned = await self._store.customers.assign(account_uid, customer_id)
        if assigned is None:
            raise Conflict("Your customer record has just been changed. Please try again.")
        return assigned

    async def run_with_customer(
        self,
        identity: Identity,
        action: Callable[[str], Awaitable[R]],
        *,
        known: str | None = None,
    ) -> R:
        """Run an action with the account's customer, which is created if there is none.

        If Stripe does not have the customer any more, it is released, and the action is run once
        more with a new one.

        Args:
            identity: The caller. Name and e-mail address become those of a new customer.
            action: Gets the customer's id, `cus_…`.
            known: The account's customer, if the caller has just read it.

        Returns:
            The result of the action.

        Raises:
            Conflict: The account's customer was changed concurrently.
        """
        customer_id = known or await self.ensure(identity)
        try:
            return await action(customer_id)
        except StripeCustomerMissing:
            await self.release(customer_id)
        return await action(await self.ensure(identity))

    async def run_with_existing_customer(
        self,
        account_uid: str,
        action: Callable[[str], Awaitable[R]],
        *,
        known: str | None = None,
    ) -> R | None:
        """Run an action with the account's customer, if it has one.

        If Stripe does not have the customer any more, it is released, and the action is run once
        more if the account has another one.

        Args:
            account_uid: The account.
            action: Gets the customer's id, `cus_…`.
            known: The account's customer, if the caller has just read it.

        Returns:
            The result of the action, or None if the account has no customer.
        """
        customer_id = known or await self.find(account_uid)
        if customer_id is None:
            return None
        try:
            return await action(customer_id)
        except StripeCustomerMissing:
            await self.release(customer_id)
        customer_id = await self.find(account_uid)
        return None if customer_id is None else await action(customer_id)

    async def release(self, customer_id: str) -> None:
        """Never use this customer again. Its payments still belong to its account.

        Args:
            customer_id: The customer, `cus_…`.
        """
        await self._store.customers.release(customer_id, self._clock())

    async def _create(self, claim: Claim) -> str:
        # The key is the claim's. After a release there is a new claim, and so a new customer.
        base = f"customer-{claim.account_uid}-{claim.key}"
        metadata = customer_metadata(claim.account_uid)

        async def create(key: str) -> StripeData:
            return await self._stripe.create_customer(
                email=claim.email, name=claim.name, metadata=metadata, idempotency_key=key
            )

        async def create_without_details(key: str) -> StripeData:
            return await self._stripe.create_customer(
                email=None, name=None, metadata=metadata, idempotency_key=key
            )

        try:
            customer = await self._requests.send(base, create)
        except InvalidRequest:
            # Stripe may refuse an e-mail address that the service accepts. The person can still
            # buy, as a customer without an address.
            customer = await self._requests.send(f"{base}-plain", create_without_details)
        return str(customer["id"])

    async def _find_subscriber(self, account_uid: str) -> str | None:
        """Return the customer of another system that pays for the account's subscription, or None.

        A released customer is not returned, because it belongs to an account, nor is one that
        also pays for another account's subscription.
        """
        for snapshot in await self._store.subscriptions.of_account(account_uid):
            if not snapshot.is_running:
                continue
            customer_id = snapshot.customer_id
            paid_for = await self._store.subscriptions.accounts_of_customer(customer_id)
            owner = await self._store.customers.account_of(customer_id)
            if owner is None and paid_for == {account_uid}:
                return customer_id
        return None
