"""One Stripe customer for each account."""

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
    def __init__(
        self, store: Store, stripe: StripeClient, clock: Clock, requests: IdempotentRequests
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._clock = clock
        self._requests = requests

    async def find(self, account_uid: str) -> str | None:
        """Return the account's customer id, or None if it has no customer."""
        known = await self._store.customers.get(account_uid)
        return known or await self._subscriber(account_uid)

    async def using(self, identity: Identity, work: Callable[[str], Awaitable[R]]) -> R:
        """Do `work` with the account's customer id, which is made where there is none.

        Where Stripe does not know the customer any more, it is released, and `work` is done once
        again with another one.
        """
        customer_id = await self._ensure(identity)
        try:
            return await work(customer_id)
        except StripeCustomerMissing:
            await self.release(customer_id)
        return await work(await self._ensure(identity))

    async def using_known(self, account_uid: str, work: Callable[[str], Awaitable[R]]) -> R | None:
        """Do `work` with the account's customer id, and return None if it has no customer.

        Where Stripe does not know the customer any more, it is released, and `work` is done once
        again with another one that the account may have.
        """
        customer_id = await self.find(account_uid)
        if customer_id is None:
            return None
        try:
            return await work(customer_id)
        except StripeCustomerMissing:
            await self.release(customer_id)
        customer_id = await self.find(account_uid)
        return None if customer_id is None else await work(customer_id)

    async def release(self, customer_id: str) -> None:
        """Never use this customer again; what it has paid still belongs to its account."""
        await self._store.customers.release(customer_id, self._clock())

    async def _ensure(self, identity: Identity) -> str:
        """Return the account's customer id, made at Stripe where there is none.

        The claim comes first, so that requests that race send Stripe the same words under the
        same idempotency key, and get the same customer.

        Raises:
            Conflict: the customer was released, or became another account's, meanwhile.
        """
        account_uid = identity.account_uid
        claim = await self._store.customers.claim(identity, self._clock())
        if claim.customer_id is not None:
            return claim.customer_id
        await self._store.accounts.describe(
            account_uid, handle=identity.handle, email=identity.email
        )
        customer_id = await self._subscriber(account_uid)
        if customer_id is None:
            customer_id = await self._create(claim)
        assigned = await self._store.customers.assign(account_uid, customer_id)
        if assigned is None:
            raise Conflict("Your customer record has changed meanwhile. Please try again.")
        return assigned

    async def _create(self, claim: Claim) -> str:
        # Of this claim: one that was made after a customer was released asks for another.
        base = f"customer-{claim.account_uid}-{claim.key}"
        metadata = customer_metadata(claim.account_uid)

        async def described(key: str) -> StripeData:
            return await self._stripe.create_customer(
                email=claim.email, name=claim.name, metadata=metadata, idempotency_key=key
            )

        async def plain(key: str) -> StripeData:
            return await self._stripe.create_customer(
                email=None, name=None, metadata=metadata, idempotency_key=key
            )

        try:
            customer = await self._requests.send(base, described)
        except InvalidRequest:
            # Stripe is stricter than we are about addresses: no reason to sell nothing.
            customer = await self._requests.send(f"{base}-plain", plain)
        return str(customer["id"])

    async def _subscriber(self, account_uid: str) -> str | None:
        """Return the customer that pays for a subscription of the account, if it is not ours.

        Another system has made it. A customer that was released belongs to an account, too, and
        is not returned; neither is one that pays for another account's subscription.
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
