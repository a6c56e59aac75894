"""Pydantic models of accounts, prices, top-ups, reversals, ledger entries and subscriptions.

Amounts are integers in the minor unit of the currency, as in Stripe's API. `created` is in epoch
seconds; fields that end in `_at` are datetimes in UTC.
"""

from datetime import datetime
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

MAX_CREDITS = 10_000_000
"""The maximum number of credits in a package. It limits the effect of a typing error in Stripe."""

AccountUid = Annotated[
    str, StringConstraints(min_length=1, max_length=128, pattern=r"^\.*[!-\-/-~][!-~]*$")
]
"""The id of a Datalayer account: printable ASCII without spaces, as Stripe's metadata needs it.

It is not of full stops only: clients remove `.` and `..` from the path of a URL, so that no
operator could open such an account (https://www.rfc-editor.org/rfc/rfc3986#section-5.2.4).
"""

Credits = Annotated[int, Field(ge=1, le=MAX_CREDITS)]


class Model(BaseModel):
    """Base of the models: immutable, and tolerant of unknown fields."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        json_schema_serialization_defaults_required=True,  # what is written has all fields
    )


class Identity(Model):
    """The account that sends a request, with the user fields of its token."""

    account_uid: AccountUid
    handle: str | None = None
    email: str | None = Field(default=None, repr=False)
    name: str | None = Field(default=None, repr=False)
    first_name: str | None = Field(default=None, repr=False)
    last_name: str | None = Field(default=None, repr=False)
    expires_at: datetime | None = None
    """When the token expires. None if the account was identified without a token."""
    roles: tuple[str, ...] = ()
    """The roles that the token gives. None of a user whom Jupyter has identified."""


class Account(Model):
    """A Datalayer user or organization.

    Attributes:
        uid: The id of the account.
        handle: The user name.
        credits: The balance, which is the sum of the ledger entries.
        debt: The credits that the account owes, which its next credits pay. Debts arise only if
            the settings forbid negative balances.
        used: The number of credits that the account has spent.
        updated_at: When the balance changed last.
    """

    uid: AccountUid
    handle: str | None = None
    credits: int = 0
    debt: int = 0
    used: int = 0
    updated_at: datetime | None = None


class Package(Model):
    """A one-time Stripe price: `credits` for `unit_amount`."""

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
    """A paid package, as described by the metadata of its PaymentIntent."""

    payment_intent_id: str
    account_uid: AccountUid
    price_id: str
    credits: Credits
    amount: Annotated[int, Field(ge=1)]
    currency: str


class Reversal(Model):
    """The amount of a payment that a refund or a dispute withholds now.

    Attributes:
        id: The id of the refund (`re_…`) or dispute (`du_…`).
        kind: What it is.
        amount: The withheld amount. 0 if the refund failed or the dispute was won.
        currency: The currency of the amount.
        is_open: Whether it is a dispute that is not decided yet.
    """

    id: str
    kind: Literal["refund", "dispute"]
    amount: Annotated[int, Field(ge=0)]
    currency: str
    is_open: bool = False

    def incomparable_with(self, entry: "LedgerEntry") -> str | None:
        """Return the reason if the amount cannot be compared with the payment, or None.

        Args:
            entry: The ledger entry of the payment.
        """
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
"""The kind of a ledger entry.

A `debt` entry raises a negative balance to zero, and a `debt-paid` entry takes these credits back.
This service never writes `spent` entries: the part of Datalayer that sells for credits does.
"""

ENTRY_KINDS: frozenset[str] = frozenset(get_args(EntryKind))


class Accepted(Model):
    """The account and the credits that an operator chose for a rejected payment."""

    account_uid: AccountUid
    credits: Credits


class LedgerEntry(Model):
    """One change of an account's credits.

    Its `id` is the id of its cause, so that one cause has one entry at most. `amount` is the money
    that was paid. It is negative if it was returned to the payer.
    """

    id: str
    account_uid: AccountUid
    kind: str
    """An EntryKind. An unknown kind can be read, and the audit reports it."""
    credits: int
    amount: int
    currency: str
    price_id: str | None
    event_id: str
    created_at: datetime
    reverses: str | None = None
    """The id of the top-up whose credits a refund or a dispute changes."""
    corrects: str | None = None
    """The id of what a correction corrects: a payment, a ledger entry or an account."""
    reason: str | None = None
    """Why an operator or a repair added this entry."""
    accepted: Accepted | None = None
    """Set if an operator accepted this top-up."""
    receipt_url: str | None = None
    """The URL of the receipt at Stripe. The field is unset until it has been fetched."""

    @property
    def receipt_is_known(self) -> bool:
        """Whether the URL of the receipt has been fetched, or the entry has no receipt."""
        return self.kind != "top-up" or "receipt_url" in self.model_fields_set

    def taken_back(self, amount: int) -> int:
        """Return how many credits of this top-up are taken back for a returned amount.

        The number is proportional to the amount, rounded down. It is all credits if the whole
        payment was returned.

        Args:
            amount: The amount of the payment that was returned, in minor units.
        """
        return self.credits * min(amount, self.amount) // self.amount


class SavedCard(Model):
    """A card that a SetupIntent saved for a subscription.

    Attributes:
        setup_intent_id: The id of the SetupIntent (`seti_…`).
        payment_method: The id of the card (`pm_…`).
        confirmed_at: When the SetupIntent succeeded, in epoch seconds.
        created: When the SetupIntent was created, in epoch seconds.
    """

    setup_intent_id: str
    payment_method: str
    confirmed_at: int
    created: int

    @property
    def order(self) -> str:
        """A sort key: the time of confirmation, then the time of creation, then the id."""
        return f"{self.confirmed_at:012} {self.created:012} {self.setup_intent_id}"


class InvoiceSummary(Model):
    """The payment of the latest invoice of a subscription."""

    id: str
    status: str | None = None
    amount: int | None = None
    currency: str | None = None
    paid_at: datetime | None = None
    attempt_count: int | None = None


RUNNING_STATUSES = frozenset({"active", "trialing", "past_due", "unpaid", "paused"})
"""The statuses of a subscription that has started and not ended, paid or unpaid."""


class SubscriptionSnapshot(Model):
    """A stored copy of a Stripe subscription.

    https://docs.stripe.com/api/subscriptions/object
    """

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
        """Whether the status is final.

        https://docs.stripe.com/billing/subscriptions/overview#subscription-statuses
        """
        return self.status in {"canceled", "incomplete_expired"}

    @property
    def is_running(self) -> bool:
        """Whether the subscription has started and not ended, paid or unpaid."""
        return self.status in RUNNING_STATUSES

    @property
    def ends_with_period(self) -> bool:
        """Whether it will be canceled at the end of the period.

        The customer portal may set the date instead of the flag.
        """
        by_date = self.cancel_at is not None and self.cancel_at == self.current_period_end
        return self.cancel_at_period_end or by_date
