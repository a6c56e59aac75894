"""Base handler of the operator's routes: only tokens with the configured role are let in."""

from collections.abc import Awaitable
from typing import TypeVar

from pydantic import BaseModel

from ...administration.administration import Administration
from ...errors import Forbidden
from ...logs import bind_log_context
from ..api import IdentifiedHandler
from ..operation import Answer

T = TypeVar("T")


class AdminHandler(IdentifiedHandler):
    """Base of the routes that act for an operator, on all accounts."""

    def prepare(self) -> None:
        """Authenticate the caller, and check the role.

        Raises:
            Unauthorized: The token is missing or not valid.
            Forbidden: The token does not have the role.
        """
        super().prepare()
        if self.request.method == "OPTIONS":
            return
        role = self.service.settings.stripe_admin_role
        if role is None or role not in self.identity.roles:
            bind_log_context(required_role=role)  # customers are not told which one it is
            raise Forbidden("Your token does not have the role that operators need.")

    async def read(self, reading: Awaitable[T]) -> T:
        """Return what a read of the database returns, after those that came before it.

        Args:
            reading: The read. It starts when a slot is free.
        """
        async with self.administration.read_slots:
            return await reading

    def respond_with(self, answer: type[Answer], view: BaseModel) -> None:
        """Finish the request with the fields of a view.

        Args:
            answer: The model that adds `success` to the model of the view.
            view: The view.
        """
        self.respond(answer(**dict(view)))

    @property
    def administration(self) -> Administration:
        """What operators see and do."""
        return self.service.administration
