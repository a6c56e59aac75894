"""Queries and bodies of the operator's routes."""

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from ...administration.events import EventStatus
from ...administration.overview import MAX_DAYS
from ...models import AccountUid

MAX_PAGE_SIZE = 100
"""Maximum number of entries of a page."""

# A position holds up to 1000 ids, but a page of events of one millisecond is rare. The line of a
# request has a limit of its own.
_MAX_CURSOR_CHARS = 16_384


class OverviewQuery(BaseModel):
    """Query of the overview: the number of days."""

    days: int = Field(default=30, ge=1, le=MAX_DAYS)


class PageQuery(BaseModel):
    """Query of a list: the size of the page, and the cursor of the page before."""

    limit: int = Field(default=50, ge=1, le=MAX_PAGE_SIZE)
    cursor: str | None = Field(default=None, max_length=_MAX_CURSOR_CHARS)


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
