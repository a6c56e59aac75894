"""The account of the key.

https://docs.stripe.com/api/accounts/retrieve
"""

from collections.abc import Mapping
from typing import Any

from ..api import params as p
from ..api.routes import Route
from ..engine.backend import Backend
from ..shapes.accounts import account
from ..shapes.objects import Object

_ACCOUNT_ID = "acct_1SandboxSandbox00"


class Accounts:
    """The API's operation on the account of the key."""

    def __init__(self, backend: Backend) -> None:
        self._account = account(_ACCOUNT_ID, backend.now())

    def retrieve(self, raw: Mapping[str, Any]) -> Object:
        """Return the account."""
        p.read(raw, {"expand": p.list_of(p.string)})
        return self._account

    def routes(self) -> list[Route]:
        """Return the routes of the account."""
        return [Route("GET", "/v1/account", self.retrieve)]
