"""What operators see, as pydantic models: the routes answer with them, and commands print them.

Amounts are integers in the minor unit of the currency, by currency. Lists are bounded; a cursor
that is not None selects the next page.
"""

from datetime import date, datetime
from typing import Literal

from pydantic import Field

from ..models import Model
from ..store.event_records import HandlerRun


class Sums(Model):
    """What was sold and taken back in a time.

    `credits_sold` - `credits_refunded` + `credits_other` is the change of all balances.

    Attributes:
        credits_sold: The credits of the top-ups.
        payments: The number of the top-ups.
        amounts: The money that was paid for them.
        credits_refunded: The credits that refunds and disputes have taken back, less those that
            they have returned.
        refunds: How often a refund or a dispute has taken credits back. A dispute whose amount
            changes, or that is lost after it was won, counts again.
        amounts_refunded: The money of the refunds and disputes.
        credits_other: The credits of all other rows: corrections, debts, and what was spent.
        failed: The events received in this time that a plugin has failed, and not finished since.
        rejected: The events received in this time that a plugin has rejected, and not finished
            since.
    """

    credits_sold: int = 0
    payments: int = 0
    amounts: dict[str, int] = Field(default_factory=dict)
    credits_refunded: int = 0
    refunds: int = 0
    amounts_refunded: dict[str, int] = Field(default_factory=dict)
    credits_other: int = 0
    failed: int = 0
    rejected: int = 0


class Day(Sums):
    """The sums of one UTC day."""

    day: date


class OpenWork(Model):
    """What waits now: failed and rejected events of any age, and jobs of deferred plugins.

    A job may wait longer than the database keeps its event. Then the list of deferred events does
    not have it.
    """

    failed: int
    rejected: int
    jobs_waiting: int


class Overview(Model):
    """The last days, the newest one last, and what waits now.

    Attributes:
        days: Each day.
        totals: The sums of these days.
        open: What waits now.
        oldest_open_at: When the oldest open event was received.
        livemode: Whether the service sells for real money.
        version: The version of the service.
    """

    days: tuple[Day, ...]
    totals: Sums
    open: OpenWork
    oldest_open_at: datetime | None
    livemode: bool
    version: str


class EventView(Model):
    """A received event, without its content, which may hold a name and an address.

    Attributes:
        created: When Stripe created it, in epoch seconds.
        handlers: The state of each plugin that has run on it.
        failed: The plugins that have failed it, and not finished it since.
        rejected: The plugins that have rejected it, and not finished it since.
        dashboard_url: Its page in Stripe's dashboard.
    """

    id: str
    type: str
    created: int
    livemode: bool
    api_version: str | None
    object_id: str | None
    account_uid: str | None
    received_at: datetime
    handlers: dict[str, HandlerRun]
    failed: tuple[str, ...]
    rejected: tuple[str, ...]
    dashboard_url: str | None


class EventList(Model):
    """A page of events. It may be short although there is a next one."""

    events: tuple[EventView, ...]
    next_cursor: str | None


class Replay(Model):
    """The end of a replay.

    Attributes:
        event_id: The event that was processed. Of a thin event it is the snapshot event.
        outcome: As in the answer to a delivery.
        handlers: The state of each plugin that has run on the event.
    """

    event_id: str
    outcome: str
    handlers: dict[str, HandlerRun]


class AccountRow(Model):
    """An account in a list, with the customer that it uses for purchases."""

    account_uid: str
    handle: str | None
    credits: int
    debt: int
    updated_at: datetime | None
    customer_id: str | None


class AccountList(Model):
    """A page of accounts."""

    accounts: tuple[AccountRow, ...]
    next_cursor: str | None


class AccountProfile(Model):
    """An account, with the address of its owner, which is not for logs."""

    account_uid: str
    handle: str | None
    email: str | None = Field(repr=False)
    credits: int
    debt: int
    used: int
    updated_at: datetime | None


class CustomerLink(Model):
    """A customer at Stripe. `released_at` is set on one that is not used any more."""

    customer_id: str
    released_at: datetime | None = None
    dashboard_url: str | None


class Movement(Model):
    """A row of the ledger. `reason` is why an operator or a repair has added it."""

    id: str
    kind: str
    credits: int
    amount: int
    currency: str
    price_id: str | None
    event_id: str
    created_at: datetime
    reverses: str | None
    corrects: str | None
    reason: str | None
    dashboard_url: str | None


class MovementList(Model):
    """A page of an account's ledger, newest first."""

    ledger: tuple[Movement, ...]
    next_cursor: str | None


class Payment(Model):
    """A payment that was credited.

    Attributes:
        id: The id of the PaymentIntent, `pi_…`.
        amount_refunded: What refunds and disputes hold back now.
        reversals: The amount that each refund and dispute holds back now.
        open_disputes: The disputes that are not decided.
    """

    id: str
    credits: int
    amount: int
    currency: str
    price_id: str | None
    created_at: datetime
    amount_refunded: int
    reversals: dict[str, int]
    open_disputes: tuple[str, ...]
    dashboard_url: str | None


class PaymentList(Model):
    """A page of an account's payments, newest first."""

    payments: tuple[Payment, ...]
    next_cursor: str | None


class Subscription(Model):
    """The stored copy of a subscription at Stripe."""

    id: str
    status: str
    plan_name: str | None
    plan_code: str
    price_id: str
    amount: int | None
    currency: str
    interval: str | None
    current_period_start: datetime | None
    current_period_end: datetime | None
    cancel_at_period_end: bool
    created_at: datetime
    ended_at: datetime | None
    customer_id: str
    dashboard_url: str | None


class AccountStory(Model):
    """All that is known of an account: the first page of each list, the newest entry first."""

    account: AccountProfile
    customer: CustomerLink | None
    former_customers: tuple[CustomerLink, ...]
    subscriptions: tuple[Subscription, ...]
    ledger: tuple[Movement, ...]
    ledger_cursor: str | None
    payments: tuple[Payment, ...]
    payments_cursor: str | None
    events: tuple[EventView, ...]
    events_cursor: str | None


class CheckFinding(Model):
    """What a check of the set-up has found."""

    check: str
    status: Literal["ok", "warning", "error", "not run"]
    text: str
    advice: str | None


class Findings(Model):
    """What `datalayer-stripe doctor --json` prints, and when the checks ran."""

    at: datetime
    counts: dict[str, int]
    findings: tuple[CheckFinding, ...]
