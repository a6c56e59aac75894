"""Check that each account's balance is the sum of its ledger, and its debt that of its debt rows.

Both are read in the order of the accounts, so that no list of all accounts is in memory.
"""

from collections.abc import AsyncIterator, Callable

from ..store import Store
from ..store.audits import Balance
from .differences import Difference, account_difference


class BalanceAudit:
    """The part of an audit that compares balances and debts with the ledger.

    Args:
        store: The database.
        on_difference: Is called with each difference.
        on_checked: Is called for each account, with the part of all accounts that is done, from 0
            to 1; None if only one account is checked.
        account_uid: Check only this account.
    """

    def __init__(
        self,
        store: Store,
        *,
        on_difference: Callable[[Difference], None],
        on_checked: Callable[[float | None], None],
        account_uid: str | None = None,
    ) -> None:
        self._audits = store.audits
        self._on_difference = on_difference
        self._on_checked = on_checked
        self._account_uid = account_uid

    async def run(self) -> None:
        """Compare the balances and debts with the ledger.

        Raises:
            StoreUnavailable: The database does not answer.
        """
        if self._account_uid is not None:
            self._on_checked(None)
            await self._compare(self._account_uid)
            return
        checked, number = 0, await self._audits.count_accounts()
        async for account_uid, balance, total in _merged(
            self._audits.balances(), self._audits.ledger_sums()
        ):
            checked += 1
            self._on_checked(checked / max(number, 1))
            if balance != total:
                # A payment may have been credited between the two reads: read both again.
                await self._compare(account_uid)

    async def _compare(self, account_uid: str) -> None:
        balance, total = await self._audits.balance_and_sum(account_uid)
        for name, word in (("credits", "balance"), ("debt", "debt")):
            stored, expected = getattr(balance, name), getattr(total, name)
            if stored != expected:
                text = f"the {word} is {stored}, but its ledger sums to {expected}"
                self._on_difference(account_difference(word, account_uid, text))


async def _merged(
    balances: AsyncIterator[tuple[str, Balance]], sums: AsyncIterator[tuple[str, Balance]]
) -> AsyncIterator[tuple[str, Balance, Balance]]:
    """Merge two streams that are sorted by account.

    Yields:
        The account, its balance and its sum. A missing balance or sum is 0.
    """
    left, right = await _next(balances), await _next(sums)
    while left or right:
        account_uid = min(one[0] for one in (left, right) if one)
        balance = total = Balance()
        if left and left[0] == account_uid:
            balance, left = left[1], await _next(balances)
        if right and right[0] == account_uid:
            total, right = right[1], await _next(sums)
        yield account_uid, balance, total


async def _next(stream: AsyncIterator[tuple[str, Balance]]) -> tuple[str, Balance] | None:
    try:
        return await anext(stream)
    except StopAsyncIteration:
        return None
