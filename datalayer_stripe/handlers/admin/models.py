"""Queries, bodies and answers of the operator's routes."""

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from ...administration.events import EventStatus
from ...administration.overview import MAX_DAYS
from ...administration.views import (
    AccountList,
    AccountStory,
    EventList,
    Findings,
    MovementList,
    Overview,
    PaymentList,
    Replay,
)
from ...models import AccountUid
from ..operation import CURSOR_PATTERN, Answer

MAX_PAGE_SIZE = 100
"""Maximum number of entries of a page."""

# A position of 500 events has as many characters. Headers of more than 32 KB are refused.
_MAX_CURSOR_CHARS = 24_576


class OverviewQuery(BaseModel):
    """Query of the overview: the number of days."""

    days: int = Field(default=30, ge=1, le=MAX_DAYS)


class PageQuery(BaseModel):
    """Query of a list: the size of the page, and the cursor of the page before."""

    limit: int = Field(default=50, ge=1, le=MAX_PAGE_SIZE)
    cursor: str | None = Field(
        default=None,
        max_length=_MAX_CURSOR_CHARS,
        pattern=CURSOR_PATTERN,
        description="The `next_cursor` of the previous page.",
    )


class EventsQuery(PageQuery):
    """Query of the events. `type` and `account_uid` have no meaning for deferred events."""

    status: EventStatus = "all"
    type: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.]{1,128}$")] | None = None
    account_uid: AccountUid | None = None


class AccountsQuery(PageQuery):
    """Query of the accounts: the beginning of a uid or handle, or a customer's id."""

    query: str = Field(default="", max_length=128)


class StoryQuery(BaseModel):
    """Query of one account: the size of the first page of each list."""

    limit: int = Field(default=50, ge=1, le=MAX_PAGE_SIZE)


class ReplayRequest(BaseModel):
    """Body of a replay: an object, whose fields are ignored."""


class OverviewAnswer(Overview, Answer):
    """The sums of the last days, the newest one last, and what waits now."""


class FindingsAnswer(Findings, Answer):
    """What the checks of the set-up have found."""


class EventsAnswer(EventList, Answer):
    """A page of events. It may be short although there is a next one."""


class ReplayAnswer(Replay, Answer):
    """The end of a replay."""


class AccountsAnswer(AccountList, Answer):
    """A page of accounts."""


class StoryAnswer(AccountStory, Answer):
    """All that is known of an account: the first page of each list, the newest entry first."""


class LedgerAnswer(MovementList, Answer):
    """A page of an account's ledger, newest first."""


class PaymentsAnswer(PaymentList, Answer):
    """A page of an account's payments, newest first."""
