"""Accounts and the customers that they get, and the result of each."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from ..models import AccountUid, Model


class Outcome(StrEnum):
    """How the work on an account ended."""

    ADDED = "added"
    """The account has got the customer; in a dry run, it would get it."""
    ALREADY = "already"
    """The account had the customer, or a customer, before."""
    REFUSED = "refused"
    """Nothing was changed."""


@dataclass(frozen=True)
class CustomerResult:
    """The result of an account, or of a line of a file.

    Attributes:
        outcome: How it ended.
        account_uid: The account, unless the line names none.
        customer_id: The customer, if there is one.
        line: The number of the line in the file.
        reason: Why nothing was changed. It repeats no address and no name.
    """

    outcome: Outcome
    account_uid: str | None = None
    customer_id: str | None = None
    line: int | None = None
    reason: str | None = None


def _not_an_address(account_uid: str) -> str:
    if "@" in account_uid:
        raise ValueError("an e-mail address does not identify an account")
    return account_uid


class Link(Model):
    """An account, and the existing customer that it gets.

    The account is never an e-mail address, which anybody can enter at Stripe.
    """

    account_uid: Annotated[AccountUid, AfterValidator(_not_an_address)]
    customer_id: Annotated[str, StringConstraints(pattern=r"^cus_[A-Za-z0-9_]{1,250}$")]
    line: int | None = None

    def result(self, outcome: Outcome, reason: str | None = None) -> CustomerResult:
        """Return the result of the account."""
        return CustomerResult(outcome, self.account_uid, self.customer_id, self.line, reason)


def without_contradictions(links: Iterable[Link]) -> tuple[list[Link], list[CustomerResult]]:
    """Leave out the accounts with several customers and the customers with several accounts.

    Args:
        links: The links of a file, or of all customers at Stripe.

    Returns:
        The other links, each once, and a refusal of each link that was left out.
    """
    links = list(links)
    customers: dict[str, set[str]] = {}
    accounts: dict[str, set[str]] = {}
    for link in links:
        customers.setdefault(link.account_uid, set()).add(link.customer_id)
        accounts.setdefault(link.customer_id, set()).add(link.account_uid)
    several_customers = {one: _some(ids) for one, ids in customers.items() if len(ids) > 1}
    several_accounts = {one: _some(ids) for one, ids in accounts.items() if len(ids) > 1}
    single: dict[tuple[str, str], Link] = {}
    refused = []
    for link in links:
        first = single.get((link.account_uid, link.customer_id))
        if link.account_uid in several_customers:
            reason = f"several customers for the account: {several_customers[link.account_uid]}"
        elif link.customer_id in several_accounts:
            reason = f"several accounts for the customer: {several_accounts[link.customer_id]}"
        elif first is not None:
            reason = f"repeats line {first.line}"
        else:
            single[link.account_uid, link.customer_id] = link
            continue
        refused.append(link.result(Outcome.REFUSED, reason))
    return list(single.values()), refused


def _some(ids: set[str]) -> str:
    first, *others = sorted(ids)
    return f"{first}, {others[0]}" + (f" and {len(others) - 1} more" if len(others) > 1 else "")
