"""Handlers of the routes that show, start, cancel and resume a subscription.

The command line of 2025 calls `/subscription`, that of 2026 calls `/plans`: both are served.
"""

import asyncio
from collections.abc import Sequence

from pydantic import Field

from ..billing.plans import StartedSubscription
from ..billing.snapshots import primary_subscription
from ..billing.views import (
    AccountView,
    PlanView,
    SubscriptionView,
    account_view,
    plan_view,
    subscription_view,
)
from ..errors import Conflict, NotConfigured, PriceNotFound, RateLimited, StripeUnavailable
from ..models import Account, AccountUid, Model, Plan, SubscriptionSnapshot
from .account_scope import AccountScope
from .api import AuthenticatedHandler
from .operation import PURCHASE_ERRORS, STORE_ERRORS, STRIPE_ERRORS, Answer, Operation
from .topup import PriceRequest
from .urls import IAM_PREFIX, STRIPE_PREFIX

_CANCEL_SCHEDULED = "Your subscription ends at the end of the current period."
_PENDING_CANCELED = "The subscription was canceled before its first payment."
_RESUMED = "Your subscription continues."


class AccountsRequest(AccountScope):
    """Body of a request for several accounts."""

    account_uids: list[AccountUid] = Field(max_length=1000, examples=[["01EXAMPLEACCOUNT"]])


class PortalLink(Model):
    """Where the billing portal is."""

    url: str | None = Field(examples=["https://billing.example.com/p/login/example"])


class PortalRoute(PortalLink):
    """Where the billing portal and the checkout page are."""

    route: str = Field(description="The location of the checkout page.", examples=["checkout"])


class SubscriptionAnswer(Answer):
    """The caller's plan and balance, and the plans for sale. `plan` repeats `subscription`."""

    account_uid: str = Field(examples=["01EXAMPLEACCOUNT"])
    subscription: SubscriptionView
    plan: SubscriptionView
    portal: PortalRoute
    available_plans: list[PlanView]


class PlansAnswer(Answer):
    """The monthly plans for sale, cheapest first."""

    plans: list[PlanView]


class SubscribeAnswer(StartedSubscription, Answer):
    """A subscription that waits for its first payment."""


class SetupIntentAnswer(Answer):
    """A SetupIntent that the browser confirms with Stripe.js."""

    client_secret: str | None = Field(repr=False, examples=["seti_Example_secret_Example"])


class ResumeAnswer(Answer):
    """The state of the subscription after the change."""

    message: str = Field(description="For people.", examples=[_RESUMED])
    status: str = Field(examples=["active"])
    cancel_at_period_end: bool


class CancelAnswer(ResumeAnswer):
    """The state of the subscription after the cancellation."""

    portal: PortalLink


class AccountsAnswer(Answer):
    """The accounts that the caller may use: its own."""

    accounts: list[AccountView]


class SubscriberHandler(AuthenticatedHandler):
    """Base of the handlers that return an account with its subscription."""

    async def read_account(
        self, *, refresh: bool = False
    ) -> tuple[Account, Sequence[SubscriptionSnapshot]]:
        """Read the caller's account and its subscriptions.

        Args:
            refresh: Whether to fetch a subscription from Stripe that waits for its first payment.

        Returns:
            The account, and the snapshots of its subscriptions.
        """
        account_uid = self.identity.account_uid
        overview = await self.service.store.overviews.of_account(account_uid)
        snapshots: Sequence[SubscriptionSnapshot] = overview.snapshots
        if refresh:
            subscriptions = self.service.subscriptions
            snapshots = await subscriptions.refresh_if_incomplete(account_uid, snapshots)
        return overview.account, snapshots

    def subscription_view(
        self, account: Account, snapshots: Sequence[SubscriptionSnapshot]
    ) -> SubscriptionView:
        """Return the `subscription` of the response for the caller's account.

        Args:
            account: The caller's account.
            snapshots: The snapshots of its subscriptions.
        """
        return subscription_view(
            self.identity,
            account,
            primary_subscription(snapshots),
            is_eligible=self.service.subscriptions.is_eligible(snapshots),
        )

    async def account_views(self) -> list[AccountView]:
        """Return the accounts that the caller may see: only its own."""
        view = self.subscription_view(*await self.read_account())
        return [account_view(self.identity, view)]


class SubscriptionHandler(SubscriberHandler):
    """`GET /subscription`: return the account's plan and balance, and the plans for sale."""

    @Operation(SubscriptionAnswer, errors=(*STORE_ERRORS, *STRIPE_ERRORS))
    async def get(self) -> None:
        (account, snapshots), plans = await asyncio.gather(
            self.read_account(refresh=True), self._available_plans()
        )
        view = self.subscription_view(account, snapshots)
        answer = SubscriptionAnswer(
            account_uid=view.account_uid,
            subscription=view,
            plan=view,
            portal=PortalRoute(url=self.service.portal.url, route=self.app_state.checkout_route),
            available_plans=[plan_view(plan) for plan in plans],
        )
        self.respond(answer)

    async def _available_plans(self) -> tuple[Plan, ...]:
        """Return the plans for sale; none while Stripe cannot list them."""
        try:
            return await self.service.catalog.plans()
        except (StripeUnavailable, RateLimited, NotConfigured):
            return ()


class CatalogHandler(AuthenticatedHandler):
    """`GET /subscription/plans`: return the monthly plans for sale."""

    @Operation(PlansAnswer, errors=(*STRIPE_ERRORS, NotConfigured))
    async def get(self) -> None:
        plans = await self.service.catalog.plans()
        self.respond(PlansAnswer(plans=[plan_view(plan) for plan in plans]))


class SubscribeHandler(AuthenticatedHandler):
    """`POST /subscription/payment-intent`: create an incomplete subscription to be paid."""

    @Operation(
        SubscribeAnswer,
        status=201,
        body=PriceRequest,
        errors=(*PURCHASE_ERRORS, NotConfigured, PriceNotFound, Conflict),
    )
    async def post(self) -> None:
        body = self.json_body(PriceRequest)
        self.service.rate_limiter.take(self.identity.account_uid)
        started = await self.service.plans.subscribe(self.identity, body.price_id)
        self.respond(SubscribeAnswer(**started.model_dump()), 201)


class RenewCardHandler(AuthenticatedHandler):
    """`POST /subscription/resume/setup-intent`: create a SetupIntent to replace the card."""

    @Operation(
        SetupIntentAnswer,
        status=201,
        body=AccountScope,
        body_is_optional=True,
        errors=(*PURCHASE_ERRORS, Conflict),
    )
    async def post(self) -> None:
        self.check_optional_body()
        self.service.rate_limiter.take(self.identity.account_uid)
        secret = await self.service.cards.start_change(self.identity.account_uid)
        self.respond(SetupIntentAnswer(client_secret=secret), 201)


class CancelHandler(AuthenticatedHandler):
    """`POST /subscription/cancel`: cancel at the end of the period, or at once if it is unpaid."""

    @Operation(
        CancelAnswer,
        body=AccountScope,
        body_is_optional=True,
        errors=(*PURCHASE_ERRORS, Conflict),
    )
    async def post(self) -> None:
        self.check_optional_body()
        self.service.rate_limiter.take(self.identity.account_uid)
        snapshot = await self.service.plans.cancel(self.identity.account_uid)
        # A subscription that waited for its first payment is over now. Stripe may call it
        # `canceled` or `incomplete_expired`.
        answer = CancelAnswer(
            message=_PENDING_CANCELED if snapshot.is_over else _CANCEL_SCHEDULED,
            status="canceled" if snapshot.is_over else snapshot.status,
            cancel_at_period_end=snapshot.ends_with_period,
            portal=PortalLink(url=self.service.portal.url),
        )
        self.respond(answer)


class ResumeHandler(AuthenticatedHandler):
    """`POST /subscription/resume`: undo a scheduled cancellation."""

    @Operation(
        ResumeAnswer,
        body=AccountScope,
        body_is_optional=True,
        errors=(*PURCHASE_ERRORS, Conflict),
    )
    async def post(self) -> None:
        self.check_optional_body()
        self.service.rate_limiter.take(self.identity.account_uid)
        snapshot = await self.service.plans.resume(self.identity.account_uid)
        answer = ResumeAnswer(
            message=_RESUMED,
            status=snapshot.status,
            cancel_at_period_end=snapshot.ends_with_period,
        )
        self.respond(answer)


class EligibleAccountsHandler(SubscriberHandler):
    """`GET /plans/eligible-accounts`: return the accounts that the caller may use: its own."""

    @Operation(AccountsAnswer, errors=STORE_ERRORS)
    async def get(self) -> None:
        self.respond(AccountsAnswer(accounts=await self.account_views()))


class AccountDetailsHandler(SubscriberHandler):
    """`POST /plans/accounts/details`: return the given accounts that the caller may see."""

    @Operation(AccountsAnswer, body=AccountsRequest, errors=STORE_ERRORS)
    async def post(self) -> None:
        account_uids = self.json_body(AccountsRequest).account_uids
        is_included = self.identity.account_uid in account_uids
        accounts = await self.account_views() if is_included else []
        self.respond(AccountsAnswer(accounts=accounts))


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
