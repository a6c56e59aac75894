"""Positions in lists, from which the next page is read.

They come back from clients in cursors: each field has a type and a limit, so that none can become a
part of a query.
"""

from datetime import datetime, timedelta
from typing import Annotated, Self

from pydantic import Field, StringConstraints

from ..clock import EPOCH, MAX_EPOCH_SECONDS
from ..models import Model

MAX_IDS = 500
"""Maximum number of events of one millisecond that a list shows."""

_MILLISECOND = timedelta(milliseconds=1)

Id = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=255)]
Milliseconds = Annotated[int, Field(strict=True, ge=0, le=MAX_EPOCH_SECONDS * 1000)]


def milliseconds(moment: datetime) -> int:
    """Return a time in epoch milliseconds, the resolution of the database."""
    return (moment - EPOCH) // _MILLISECOND


class EventPosition(Model):
    """Position in a list of events, newest first.

    Attributes:
        at: The time of receipt of the last event, in epoch milliseconds.
        ids: The events of this time that were already listed. So the list needs no order among
            them, and the index on the time alone is enough.
    """

    at: Milliseconds
    ids: Annotated[tuple[Id, ...], Field(max_length=MAX_IDS)] = ()

    @property
    def received_at(self) -> datetime:
        """The time of receipt."""
        return EPOCH + self.at * _MILLISECOND


class RowPosition(Model):
    """Position in a list of ledger rows, newest first: the last row's time and id."""

    at: Milliseconds
    id: Id

    @classmethod
    def of(cls, created_at: datetime, row_id: str) -> Self:
        """Return the position of a row."""
        return cls(at=milliseconds(created_at), id=row_id)

    @property
    def after(self) -> tuple[datetime, str]:
        """The time and the id, as :meth:`.Ledger.page` takes them."""
        return EPOCH + self.at * _MILLISECOND, self.id


class AccountPosition(Model):
    """Position in a list of accounts: the last account, and its handle if it was found by it."""

    uid: Id
    handle: Id | None = None


class JobPosition(Model):
    """Position in the list of events with jobs: the last event."""

    event_id: Id
