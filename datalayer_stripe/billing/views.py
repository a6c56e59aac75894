"""JSON views of the domain objects. The clients define the names of the fields."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from ..currencies import major_units
from ..models import (
    Account,
    Identity,
    LedgerEntry,
    Model,
    Package,
    Plan,
    SubscriptionSnapshot,
)


class PackageView(Model):
    """A package. `amount` is in the currency's minor unit."""

    id: str
    name: str
    amount: int
    unit_amount: int
    currency: str
    credits: int
    default: bool


class PlanView(Model):
    """A plan. `amount` is in the currency's minor unit, `price` in its major unit."""

    id: str
    name: str
    code: str
    amount: int
    price: float
    currency: str
    interval: str
    included_runs: int | None


class InvoiceView(Model):
    """An invoice. `amount` is in the currency's minor unit."""

    id: str
    status: str | None
    amount: int | None
    currency: str | None
    paid_at: datetime | None
    attempt_count: int | None


class SubscriptionView(Model):
    """An account's subscription and balance. `status` is `none` without a subscription.

    `wallet_balance` is the balance. `current_credits` is the number of credits that were used in
    the current period. Runs are not counted: `current_runs` is null, and `remaining_runs` is the
    number of runs that an active plan includes.
    """

    id: str | None = None
    status: str = "none"
    plan_id: str | None = None
    plan_name: str = "Free"
    plan_code: str | None = None
    amount: int | None = None
    currency: str | None = None
    interval: str | None = None
    current_period_start: datetime | None = None
    current_period_end: datetime | None = None
    cancel_at_period_end: bool = False
    included_runs: int | None = None
    used_runs: Literal[0] = 0
    wallet_balance: int
    wallet_is_quota: Literal[False] = False
    wallet_quota: None = None
    current_credits: int
    used_credits: int
    current_runs: None = None
    remaining_runs: int | None = None
    billing_provider: Literal["stripe"] | None = None
    is_eligible: bool
    account_uid: str
    account_handle: str | None
    latest_invoice: InvoiceView | None = None


class AccountView(Model):
    """An account of the caller. `is_eligible` says whether it may start work."""

    account_uid: str
    account_type: Literal["user"] = "user"
    account_name: str | None
    account_handle: str | None
    subscription: SubscriptionView
    plan: SubscriptionView
    plan_source_account_uid: str | None
    billing_provider: Literal["stripe"] | None
    wallet_balance: int
    is_eligible: bool


class ProfileView(Model):
    """A person, from the claims of a token."""

    uid: str
    handle_s: str | None
    email_s: str | None = Field(repr=False)
    first_name_t: str | None = Field(repr=False)
    last_name_t: str | None = Field(repr=False)


class BalanceView(Model):
    """An account's balance."""

    credits: int
    last_update: datetime | None


class MovementView(Model):
    """One row of an account's ledger; `amount` is in the currency's minor unit.

    `reverses` is the id of the top-up that a refund or a dispute reverses.
    """

    id: str
    kind: str
    credits: int
    amount: int
    currency: str
    price_id: str | None
    created_at: datetime
    receipt_url: str | None
    reverses: str | None


def package_view(package: Package) -> PackageView:
    """Return the view of a package."""
    return PackageView(amount=package.unit_amount, **package.model_dump())


def plan_view(plan: Plan) -> PlanView:
    """Return the view of a plan."""
    return PlanView(price=major_units(plan.amount, plan.currency), **plan.model_dump())


def movement_view(entry: LedgerEntry) -> MovementView:
    """Return the view of a ledger entry."""
    return MovementView.model_validate(entry.model_dump())


def subscription_view(
    identity: Identity,
    account: Account,
    snapshot: SubscriptionSnapshot | None,
    *,
    is_eligible: bool,
) -> SubscriptionView:
    """Return the view of an account and its primary subscription.

    Args:
        identity: The caller.
        account: The caller's account.
        snapshot: The account's primary subscription, or None.
        is_eligible: Whether the account may buy credits.
    """
    account_fields = {
        "wallet_balance": account.credits,
        "current_credits": account.used,
        "used_credits": account.used,
        "is_eligible": is_eligible,
        "account_uid": identity.account_uid,
        "account_handle": identity.handle or account.handle,
    }
    if snapshot is None:
        return SubscriptionView.model_validate(account_fields)
    return SubscriptionView.model_validate(
        {
            **snapshot.model_dump(),
            "plan_id": snapshot.price_id,
            "plan_name": snapshot.plan_name or snapshot.plan_code,
            "cancel_at_period_end": snapshot.ends_with_period,
            "remaining_runs": snapshot.included_runs if is_eligible else None,
            "billing_provider": "stripe",
            **account_fields,
        }
    )


def account_view(identity: Identity, view: SubscriptionView) -> AccountView:
    """Return the caller's own account as an item of a list of accounts.

    Args:
        identity: The caller.
        view: The view of the account's subscription.
    """
    return AccountView(
        account_uid=view.account_uid,
        account_name=identity.name or view.account_handle,
        account_handle=view.account_handle,
        subscription=view,
        plan=view,
        plan_source_account_uid=view.account_uid if view.id else None,
        billing_provider=view.billing_provider,
        wallet_balance=view.wallet_balance,
        is_eligible=view.wallet_balance > 0 or bool(view.remaining_runs),
    )


def profile_view(identity: Identity) -> ProfileView:
    """Return the view of the person whose token the request has.

    Args:
        identity: The caller.
    """
    return ProfileView(
        uid=identity.account_uid,
        handle_s=identity.handle,
        email_s=identity.email,
        first_name_t=identity.first_name,
        last_name_t=identity.last_name,
    )
