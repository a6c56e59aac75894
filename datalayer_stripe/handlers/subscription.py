"""Subscribing to a plan, seeing it, and ending it.

The 2025 command line says `subscription`, the 2026 one `plans`: the same routes twice.
"""

import asyncio

from pydantic import BaseModel, Field

from ..billing.subscriptions import primary_subscription
from ..billing.views import (
    AccountView,
    SubscriptionView,
    account_view,
    plan_view,
    subscription_view,
)
from ..errors import NotConfigured, RateLimited, StripeUnavailable
from ..models import Account, AccountUid, Plan, SubscriptionSnapshot
from .base import AuthenticatedHandler
from .topup import PriceRequest
from .urls import IAM_PREFIX, STRIPE_PREFIX

_ENDS_WITH_PERIOD = "Your subscription ends with its period."
_PENDING_CANCELED = "The subscription was canceled before its first payment."


class AccountsRequest(BaseModel):
    account_uids: list[AccountUid] = Field(max_length=1000)


class SubscriberHandler(AuthenticatedHandler):
    """The base of the handlers that show an account with its subscription."""

    async def read(self, *, anew: bool = False) -> tuple[Account, list[SubscriptionSnapshot]]:
        """What our books say; `anew` asks Stripe of a subscription that is being paid."""
        account_uid, subscriptions = self.identity.account_uid, self.service.subscriptions
        return await asyncio.gather(
            self.service.store.accounts.get(account_uid),
            (subscriptions.refresh_if_incomplete if anew else subscriptions.of_account)(
                account_uid
            ),
        )

    def view(self, account: Account, snapshots: list[SubscriptionSnapshot]) -> SubscriptionView:
        return subscription_view(
            self.identity,
            account,
            primary_subscription(snapshots),
            is_eligible=self.service.subscriptions.is_eligible(snapshots),
        )

    async def account_rows(self) -> list[AccountView]:
        """Return the caller's own account, the only one that it may see."""
        return [account_view(self.identity, self.view(*await self.read()))]


class SubscriptionHandler(SubscriberHandler):
    """`GET /subscription`: the account's plan, balance, and what else there is."""

    async def get(self) -> None:
        books, plans = await asyncio.gather(self.read(anew=True), self._plans())
        view = self.view(*books)
        self.answer(
            account_uid=view.account_uid,
            subscription=view,
            plan=view,
            portal={
                "url": self.service.portal.url,
                "route": self.site.checkout_route,
            },
            available_plans=[plan_view(plan) for plan in plans],
        )

    async def _plans(self) -> tuple[Plan, ...]:
        """Return the plans for sale; none while Stripe cannot list them."""
        try:
            return await self.service.catalog.plans()
        except (StripeUnavailable, RateLimited, NotConfigured):
            return ()


class CatalogHandler(AuthenticatedHandler):
    """`GET /subscription/plans`: the monthly plans for sale."""

    async def get(self) -> None:
        plans = await self.service.catalog.plans()
        self.answer(plans=[plan_view(plan) for plan in plans])


class SubscribeHandler(AuthenticatedHandler):
    """`POST /subscription/payment-intent`: an incomplete subscription to pay for."""

    async def post(self) -> None:
        wanted = self.json_body(PriceRequest)
        self.service.rate_limiter.take(self.identity.account_uid)
        started = await self.service.plans.subscribe(self.identity, wanted.price_id)
        self.answer(201, **started.model_dump())


class RenewCardHandler(AuthenticatedHandler):
    """`POST /subscription/resume/setup-intent`: renew the card before resuming."""

    async def post(self) -> None:
        self.check_optional_body()
        self.service.rate_limiter.take(self.identity.account_uid)
        secret = await self.service.plans.renew_card(self.identity.account_uid)
        self.answer(201, client_secret=secret)


class CancelHandler(AuthenticatedHandler):
    """`POST /subscription/cancel`: end it with its period, or at once before it is paid for."""

    async def post(self) -> None:
        self.check_optional_body()
        self.service.rate_limiter.take(self.identity.account_uid)
        snapshot = await self.service.plans.cancel(self.identity.account_uid)
        # One that waited for its first payment is over at once, by whatever status of Stripe's.
        self.answer(
            message=_PENDING_CANCELED if snapshot.is_over else _ENDS_WITH_PERIOD,
            status="canceled" if snapshot.is_over else snapshot.status,
            cancel_at_period_end=snapshot.ends_with_period,
            portal={"url": self.service.portal.url},
        )


class ResumeHandler(AuthenticatedHandler):
    """`POST /subscription/resume`: take a scheduled cancellation back."""

    async def post(self) -> None:
        self.check_optional_body()
        self.service.rate_limiter.take(self.identity.account_uid)
        snapshot = await self.service.plans.resume(self.identity.account_uid)
        self.answer(
            message="Your subscription goes on.",
            status=snapshot.status,
            cancel_at_period_end=snapshot.ends_with_period,
        )


class EligibleAccountsHandler(SubscriberHandler):
    """`GET /plans/eligible-accounts`: the accounts that the caller may act for: its own."""

    async def get(self) -> None:
        self.answer(accounts=await self.account_rows())


class AccountDetailsHandler(SubscriberHandler):
    """`POST /plans/accounts/details`: of the accounts asked for, those that the caller may see."""

    async def post(self) -> None:
        wanted = self.json_body(AccountsRequest).account_uids
        mine = self.identity.account_uid in wanted
        self.answer(accounts=await self.account_rows() if mine else [])


default_handlers = [
    (rf"{IAM_PREFIX}/(?:subscription|plans)", SubscriptionHandler),
    (rf"{IAM_PREFIX}/(?:subscription/plans|plans/catalog)", CatalogHandler),
    (rf"{IAM_PREFIX}/(?:subscription|plans)/cancel", CancelHandler),
    (rf"{IAM_PREFIX}/(?:subscription|plans)/resume", ResumeHandler),
    (rf"{IAM_PREFIX}/plans/eligible-accounts", EligibleAccountsHandler),
    (rf"{IAM_PREFIX}/plans/accounts/details", AccountDetailsHandler),
    (rf"{STRIPE_PREFIX}/subscription/payment-intent", SubscribeHandler),
    (rf"{STRIPE_PREFIX}/subscription/resume/setup-intent", RenewCardHandler),
]
