"""The account that a request asks for: only the caller's own is served."""

from typing import Self

from pydantic import BaseModel, Field

from ..errors import Forbidden

_OTHER_ACCOUNT = (
    "This service does not act for another account than your own, such as an organization: "
    "nothing was changed."
)


class AccountScope(BaseModel):
    """The fields by which clients name an account, in a body or in a query.

    A request without them is for the caller. Purchases for organizations are not supported yet,
    and must not be made for the caller instead.
    """

    account_uid: str | None = Field(default=None, strict=True)
    billing_entity_uid: str | None = Field(default=None, strict=True)
    billing_entity_kind: str | None = Field(default=None, strict=True)

    @classmethod
    def of_query(cls, arguments: dict[str, list[str]]) -> list[Self]:
        """Return a scope for each value of each field: a name that is given twice counts twice."""
        return [
            cls(**{name: value})
            for name, values in arguments.items()
            if name in cls.model_fields
            for value in values
        ]

    def check(self, caller_uid: str) -> None:
        """Raise Forbidden if the request is for another account than `caller_uid`."""
        uids = {self.account_uid, self.billing_entity_uid} - {None, ""}
        kinds = {self.billing_entity_kind} - {None, ""}
        if uids - {caller_uid} or kinds - {"user"}:
            raise Forbidden(_OTHER_ACCOUNT)
