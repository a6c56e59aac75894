"""Check that a request is for the caller's own account."""

from typing import Self

from pydantic import BaseModel, Field

from ..errors import Forbidden

_OTHER_ACCOUNT = (
    "You can use this service only for your own account, not for an organization or another "
    "user. Nothing was changed."
)


class AccountScope(BaseModel):
    """Fields with which clients name an account, in a body or in a query.

    A request without these fields is for the caller's account. Purchases for organizations are
    not supported yet. They are refused, so that the caller is never charged instead.
    """

    account_uid: str | None = Field(
        default=None, strict=True, description="The caller's own account; no other is accepted."
    )
    billing_entity_uid: str | None = Field(
        default=None, strict=True, description="Another name of `account_uid`."
    )
    billing_entity_kind: str | None = Field(
        default=None, strict=True, description="`user`; no other kind is accepted."
    )

    @classmethod
    def from_query(cls, arguments: dict[str, list[str]]) -> list[Self]:
        """Return one scope for each value of each field, so that repeated names are all checked.

        Args:
            arguments: All values of each query argument, by name.
        """
        return [
            cls(**{name: value})
            for name, values in arguments.items()
            if name in cls.model_fields
            for value in values
        ]

    def check(self, caller_uid: str) -> None:
        """Check that the request is for the account `caller_uid`.

        Args:
            caller_uid: The uid of the caller's account.

        Raises:
            Forbidden: The fields name another account, or an organization.
        """
        uids = {self.account_uid, self.billing_entity_uid} - {None, ""}
        kinds = {self.billing_entity_kind} - {None, ""}
        if uids - {caller_uid} or kinds - {"user"}:
            raise Forbidden(_OTHER_ACCOUNT)
