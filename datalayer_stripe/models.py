"""The words of the domain, as validated pydantic models.

Amounts are integers in the currency's minor unit, as Stripe gives them. Times are UTC datetimes.
"""

from datetime import datetime
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MAX_CREDITS = 10_000_000
"""The most credits that one package may hold: a guard against a slip in Stripe's dashboard."""

AccountUid = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[!-~]+$")]
"""A Datalayer account's id: printable ASCII without blanks, safe in Stripe's metadata and logs."""

Credits = Annotated[int, Field(ge=1, le=MAX_CREDITS)]


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Identity(Model):
    """Who calls: an account and what its token says of it."""

    account_uid: AccountUid
    handle: str | None = None
    email: str | None = Field(default=None, repr=False)
    name: str | None = Field(default=None, repr=False)
    first_name: str | None = Field(default=None, repr=False)
    last_name: str | None = Field(default=None, repr=False)
    expires_at: datetime | None = None
    """When the token ends that says so."""


class Account(Model):
    """A Datalayer user or organization. `credits` is its balance: the sum of its ledger.

    `debt` is what it owes where balances do not go below zero: the next credits pay it first.
    """

    uid: AccountUid
    handle: str | None = None
    credits: int = 0
    debt: int = 0
    used: int = 0
    updated_at: datetime | None = None


class Package(Model):
    """A one-time Stripe price that buys `credits` for `unit_amount`."""

    id: str
    product_id: str
    name: str
    unit_amount: int
    currency: str
    credits: Credits
    default: bool = False


class Plan(Model):
    """A monthly Stripe price."""

    id: str
    product_id: str
    name: str
    code: str
    amount: int
    currency: str
    interval: str
    included_runs: int | None = None


class TopUp(Model):
    """A paid package, as the metadata of its PaymentIntent says."""

    payment_intent_id: str
    account_uid: AccountUid
    price_id: str
    credits: Credits
    amount: Annotated[int, Field(ge=1)]
    currency: str


class Reversal(Model):
    """How much of a payment a refund or a dispute holds back at present: 0, if it counts no more.

    `amount` is in the payment's minor unit. `is_open`: a dispute that is not decided yet.
    """

    id: str
    kind: Literal["refund", "dispute"]
    amount: Annotated[int, Field(ge=0)]
    currency: str
    is_open: bool = False

    def incomparable_with(self, entry: "LedgerEntry") -> str | None:
        """Return why its amount cannot be compared with the payment of `entry`, or None."""
        if not self.amount or self.currency == entry.currency:
            return None
        return f"{self.id} is in {self.currency}, the payment in {entry.currency}"


EntryKind = Literal[
    "top-up",
    "refund",
    "refund-failed",
    "dispute",
    "dispute-won",
    "debt",
    "debt-paid",
    "correction",
    "spent",
]
"""What a ledger row is. A debt's rows lift a balance to zero, and take that back again. A `spent`
row is written by the part of Datalayer that sells something for credits, never here."""

ENTRY_KINDS: frozenset[str] = frozenset(get_args(EntryKind))


class Accepted(Model):
    """What an operator has decided that a rejected payment is worth, and for whom."""

    account_uid: AccountUid
    credits: Credits


class LedgerEntry(Model):
    """One credit movement. `id` is what caused it, so that nothing can cause it twice.

    `amount` is the money behind it, in minor units: negative where it went back to the payer.
    """

    id: str
    account_uid: AccountUid
    kind: str
    """An EntryKind. A row of another kind is readable, and a difference of the audit."""
    credits: int
    amount: int
    currency: str
    price_id: str | None
    event_id: str
    created_at: datetime
    reverses: str | None = None
    """The top-up whose credits a refund or a dispute takes back, or gives again."""
    corrects: str | None = None
    """What a correction is about: a payment, a row, or the account whose balance was set."""
    reason: str | None = None
    """Why an operator or a repair has added this row."""
    accepted: Accepted | None = None
    """On a top-up that an operator has accepted by hand."""
    receipt_url: str | None = None
    """Where Stripe shows the receipt; unset until somebody has asked for it."""

    @property
    def receipt_is_known(self) -> bool:
        """Whether Stripe has been asked for the receipt, if this is something it has one of."""
        return self.kind != "top-up" or "receipt_url" in self.model_fields_set

    def taken_back(self, amount: int) -> int:
        """How many of a top-up's credits are gone once `amount` of its payment was given back.

        In proportion, rounded down in the account's favour; all of them with the whole amount.
        """
        return self.credits * min(amount, self.amount) // self.amount


class SavedCard(Model):
    """A card that a SetupIntent has saved for a subscription. Times are epoch seconds.

    `confirmed_at` is when the SetupIntent succeeded, and `created` when it was made.
    """

    setup_intent_id: str
    payment_method: str
    confirmed_at: int
    created: int

    @property
    def order(self) -> str:
        """What sorts cards by when they were confirmed; in one second, the newer SetupIntent's."""
        return f"{self.confirmed_at:012} {self.created:012} {self.setup_intent_id}"


class InvoiceSummary(Model):
    """What a subscription's latest invoice says of its payment."""

    id: str
    status: str | None = None
    amount: int | None = None
    currency: str | None = None
    paid_at: datetime | None = None
    attempt_count: int | None = None


RUNNING_STATUSES = frozenset({"active", "trialing", "past_due", "unpaid", "paused"})
"""The statuses of a subscription that has begun and not ended, paid for or not."""


class SubscriptionSnapshot(Model):
    """Our copy of a Stripe subscription: docs.stripe.com/api/subscriptions/object."""

    id: str
    account_uid: str | None
    customer_id: str
    status: str
    price_id: str
    product_id: str
    plan_name: str | None = None
    plan_code: str
    amount: int | None
    currency: str
    interval: str | None
    interval_count: int | None
    included_runs: int | None
    current_period_start: datetime | None
    current_period_end: datetime | None
    cancel_at_period_end: bool
    cancel_at: datetime | None
    canceled_at: datetime | None
    ended_at: datetime | None
    created_at: datetime
    latest_invoice: InvoiceSummary | None

    @property
    def is_over(self) -> bool:
        """Whether it can never be active again: docs.stripe.com/billing/subscriptions/overview."""
        return self.status in {"canceled", "incomplete_expired"}

    @property
    def is_running(self) -> bool:
        """Whether it has begun and not ended, paid for or not."""
        return self.status in RUNNING_STATUSES

    @property
    def ends_with_period(self) -> bool:
        """Whether its cancellation is scheduled, by flag or, as the portal may do, by date."""
        by_date = self.cancel_at is not None and self.cancel_at == self.current_period_end
        return self.cancel_at_period_end or by_date
