"""Handlers of the operator's search for accounts, and of the story of one account."""

from pydantic import TypeAdapter, ValidationError

from ...errors import NotFound
from ...models import AccountUid
from ..operation import STORE_ERRORS, Operation, Parameter
from ..urls import ADMIN_PREFIX
from .base import AdminHandler
from .models import (
    AccountsAnswer,
    AccountsQuery,
    LedgerAnswer,
    PageQuery,
    PaymentsAnswer,
    StoryAnswer,
    StoryQuery,
)

ACCOUNT_UID = Parameter(
    name="id", place="path", description="The uid of the account.", example="01EXAMPLEACCOUNT"
)

_ACCOUNT_UID = TypeAdapter(AccountUid)

# A uid may have characters that are percent-encoded in a path, also `/`.
_ONE_ACCOUNT = rf"{ADMIN_PREFIX}/accounts/(?P<id>[^/]+)"


class AccountsHandler(AdminHandler):
    """`GET /admin/accounts`: return a page of accounts."""

    @Operation(AccountsAnswer, query=AccountsQuery, errors=STORE_ERRORS)
    async def get(self) -> None:
        query = self.query(AccountsQuery)
        page = await self.read(
            self.administration.accounts.page(query.query, limit=query.limit, cursor=query.cursor)
        )
        self.respond_with(AccountsAnswer, page)


class AccountHandler(AdminHandler):
    """`GET /admin/accounts/{id}`: return all that is known of an account."""

    @Operation(
        StoryAnswer, query=StoryQuery, parameters=(ACCOUNT_UID,), errors=(*STORE_ERRORS, NotFound)
    )
    async def get(self, id: str) -> None:
        uid, query = checked_uid(id), self.query(StoryQuery)
        story = await self.read(self.administration.accounts.story(uid, limit=query.limit))
        self.respond_with(StoryAnswer, story)


class AccountLedgerHandler(AdminHandler):
    """`GET /admin/accounts/{id}/ledger`: return a page of an account's ledger, newest first."""

    @Operation(
        LedgerAnswer, query=PageQuery, parameters=(ACCOUNT_UID,), errors=(*STORE_ERRORS, NotFound)
    )
    async def get(self, id: str) -> None:
        uid, query = checked_uid(id), self.query(PageQuery)
        page = await self.read(
            self.administration.accounts.ledger(uid, limit=query.limit, cursor=query.cursor)
        )
        self.respond_with(LedgerAnswer, page)


class AccountPaymentsHandler(AdminHandler):
    """`GET /admin/accounts/{id}/payments`: return a page of an account's payments, newest first."""

    @Operation(
        PaymentsAnswer, query=PageQuery, parameters=(ACCOUNT_UID,), errors=(*STORE_ERRORS, NotFound)
    )
    async def get(self, id: str) -> None:
        uid, query = checked_uid(id), self.query(PageQuery)
        page = await self.read(
            self.administration.accounts.payments(uid, limit=query.limit, cursor=query.cursor)
        )
        self.respond_with(PaymentsAnswer, page)


def checked_uid(text: str) -> str:
    """Return the uid of a path.

    Raises:
        NotFound: No account can have it.
    """
    try:
        return _ACCOUNT_UID.validate_python(text)
    except ValidationError:
        raise NotFound("Nothing is known of this account.") from None


default_handlers = [
    (rf"{ADMIN_PREFIX}/accounts", AccountsHandler),
    (_ONE_ACCOUNT, AccountHandler),
    (rf"{_ONE_ACCOUNT}/ledger", AccountLedgerHandler),
    (rf"{_ONE_ACCOUNT}/payments", AccountPaymentsHandler),
]
