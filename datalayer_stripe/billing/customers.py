"""One Stripe customer for each account."""

from ..clock import Clock
from ..errors import InvalidRequest
from ..models import Identity
from ..store import Store
from ..store.customers import Claim
from ..stripe_client import StripeClient


class Customers:
    def __init__(self, store: Store, stripe: StripeClient, clock: Clock) -> None:
        self._store = store
        self._stripe = stripe
        self._clock = clock

    async def find(self, account_uid: str) -> str | None:
        """The account's customer id, if it has one."""
        known = await self._store.customers.get(account_uid)
        return known or await self._subscriber(account_uid)

    async def ensure(self, identity: Identity) -> str:
        """The account's customer id, made at Stripe where there is none.

        The claim comes first, so that requests that race send Stripe the same words under the
        same idempotency key, and get the same customer.
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
        return await self._store.customers.assign(account_uid, customer_id)

    async def _create(self, claim: Claim) -> str:
        # Of this claim: one that was made after a customer was deleted asks for another.
        key = f"customer-{claim.account_uid}-{int(claim.created_at.timestamp())}"
        try:
            customer = await self._stripe.create_customer(
                account_uid=claim.account_uid,
                email=claim.email,
                name=claim.name,
                idempotency_key=key,
            )
        except InvalidRequest:
            # Stripe is stricter than we are about addresses: no reason to sell nothing.
            customer = await self._stripe.create_customer(
                account_uid=claim.account_uid,
                email=None,
                name=None,
                idempotency_key=f"{key}-plain",
            )
        return str(customer["id"])

    async def _subscriber(self, account_uid: str) -> str | None:
        """The customer that pays for a subscription of the account, made by another system."""
        for snapshot in await self._store.subscriptions.of_account(account_uid):
            owner = await self._store.customers.account_of(snapshot.customer_id)
            if owner is None and snapshot.is_running:
                return snapshot.customer_id
        return None
