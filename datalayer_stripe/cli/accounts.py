"""The commands `accounts list` and `accounts show`."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from ..administration.views import AccountRow, AccountStory, Movement, Payment, Subscription
from ..currencies import amount_text
from .commands.accounts import MAX_ROWS
from .common import command_service, run
from .events import EVENT_COLUMNS, event_detail
from .output.exports import print_json
from .output.formats import Format
from .output.tables import Column, print_rows, print_rows_as_csv, print_table
from .output.terminal import pluralize, print_line, print_paragraph

Row = TypeVar("Row")

_PAGE = 100


def _minute(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "-"


_ACCOUNTS: Sequence[Column[AccountRow]] = (
    Column("account_uid", lambda one: one.account_uid, head="ACCOUNT"),
    Column("handle", lambda one: one.handle),
    Column("credits", lambda one: one.credits, head="CREDITS"),
    Column("debt", lambda one: one.debt, head="DEBT"),
    Column(
        "updated_at",
        lambda one: one.updated_at,
        head="CHANGED (UTC)",
        text=lambda one: _minute(one.updated_at),
    ),
    Column("customer_id", lambda one: one.customer_id),
)

_LEDGER: Sequence[Column[Movement]] = (
    Column(
        "created_at",
        lambda one: one.created_at,
        head="AT (UTC)",
        text=lambda one: _minute(one.created_at),
    ),
    Column("kind", lambda one: one.kind, head="KIND"),
    Column("credits", lambda one: one.credits, head="CREDITS"),
    Column(
        "amount",
        lambda one: one.amount,
        head="AMOUNT",
        text=lambda one: amount_text(one.amount, one.currency),
    ),
    Column("currency", lambda one: one.currency),
    Column("id", lambda one: one.id),
    Column("price_id", lambda one: one.price_id),
    Column("event_id", lambda one: one.event_id),
    Column("reverses", lambda one: one.reverses),
    Column("corrects", lambda one: one.corrects),
    Column("reason", lambda one: one.reason),
    Column("dashboard_url", lambda one: one.dashboard_url),
)

_PAYMENTS: Sequence[Column[Payment]] = (
    Column("at", lambda one: _minute(one.created_at), head="AT (UTC)"),
    Column("credits", lambda one: one.credits, head="CREDITS"),
    Column("amount", lambda one: amount_text(one.amount, one.currency), head="PAID"),
    Column("back", lambda one: amount_text(one.amount_refunded, one.currency), head="BACK"),
)

_SUBSCRIPTIONS: Sequence[Column[Subscription]] = (
    Column("status", lambda one: one.status, head="STATUS"),
    Column("plan", lambda one: one.plan_name or one.plan_code, head="PLAN"),
    Column("until", lambda one: _minute(one.current_period_end), head="PERIOD ENDS (UTC)"),
)


# The lines below the rows. Ids are too long to stand beside the other columns.


def _names(account: AccountRow) -> str:
    return ", ".join(one for one in (account.handle, account.customer_id) if one) or "no customer"


def _payment(payment: Payment) -> str:
    disputes = ", ".join(payment.open_disputes)
    return f"{payment.id}, open disputes: {disputes}" if disputes else payment.id


def _movement(movement: Movement) -> str:
    return f"{movement.id}: {movement.reason}" if movement.reason else movement.id


def list_accounts(query: str, limit: int, output: Format) -> None:
    """List accounts."""

    async def find() -> list[AccountRow]:
        found: list[AccountRow] = []
        cursor: str | None = None
        async with command_service() as service:
            while True:
                page = await service.administration.accounts.page(
                    query, limit=min(limit - len(found), _PAGE), cursor=cursor
                )
                found += page.accounts
                cursor = page.next_cursor
                if cursor is None or len(found) == limit:
                    return found

    found = run(find())
    print_rows(
        output,
        _ACCOUNTS,
        found,
        detail=_names,
        empty="No matching accounts.",
        json=[one.model_dump(mode="json") for one in found],
    )


def show_account(account_uid: str, limit: int, output: Format) -> None:
    """Print the story of one account."""

    async def read() -> AccountStory:
        async with command_service() as service:
            return await service.administration.accounts.story(account_uid, limit=limit)

    story = run(read())
    match output:
        case Format.JSON:
            print_json(story.model_dump(mode="json"))
        case Format.CSV:
            print_rows_as_csv(_LEDGER, story.ledger)
        case Format.TEXT:
            _print_profile(story)
            _print_part(
                "Subscriptions", _SUBSCRIPTIONS, story.subscriptions, detail=lambda one: one.id
            )
            _print_part(
                "Payments",
                _PAYMENTS,
                story.payments,
                next_cursor=story.payments_cursor,
                detail=_payment,
            )
            _print_part(
                "Ledger",
                _LEDGER,
                story.ledger,
                next_cursor=story.ledger_cursor,
                detail=_movement,
            )
            _print_part(
                "Events",
                EVENT_COLUMNS,
                story.events,
                next_cursor=story.events_cursor,
                detail=event_detail,
            )


def _print_profile(story: AccountStory) -> None:
    account, customer = story.account, story.customer
    names = ", ".join(one for one in (account.handle, account.email) if one)
    title = f"{account.account_uid} ({names})" if names else account.account_uid
    print_paragraph(title, style="bold")
    balance = pluralize(account.credits, "credit")
    if account.debt:
        balance += f", {account.debt:,} of debt"
    if account.updated_at:
        balance += f", changed {_minute(account.updated_at)} UTC"
    print_line(balance)
    print_line(f"Customer: {customer.customer_id if customer else 'none'}")
    if customer is not None and customer.dashboard_url:
        print_line(customer.dashboard_url)
    for former in story.former_customers:
        print_line(
            f"Former customer: {former.customer_id}, until {_minute(former.released_at)} UTC"
        )


def _print_part(
    title: str,
    columns: Sequence[Column[Row]],
    rows: Sequence[Row],
    *,
    next_cursor: str | None = None,
    detail: Callable[[Row], str],
) -> None:
    """Print a list of the account below its title, and say if it is cut."""
    print_line()
    print_line(title, style="bold")
    if not rows:
        print_line("None.")
        return
    print_table(columns, rows, detail=detail)
    if next_cursor is not None:
        print_line(f"The newest {len(rows):,}. --limit shows more, up to {MAX_ROWS:,}.")
