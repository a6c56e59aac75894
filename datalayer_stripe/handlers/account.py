"""The caller's credits, profile and memberships."""

from ..billing.views import profile_view
from .base import ApiHandler, AuthenticatedHandler
from .urls import IAM_PREFIX


class CreditsHandler(AuthenticatedHandler):
    """`GET /usage/credits`: the balance."""

    async def get(self) -> None:
        account = await self.service.store.accounts.get(self.identity.account_uid)
        self.answer(
            credits={
                "credits": account.credits,
                "quota": None,
                "used": account.used,
                "last_update": account.updated_at and account.updated_at.isoformat(),
            },
            reservations=[],
        )


class WhoAmIHandler(AuthenticatedHandler):
    """`GET /whoami`: the caller, as its token says. Clients check their token here."""

    async def get(self) -> None:
        self.answer(profile=profile_view(self.identity))


class MembershipsHandler(AuthenticatedHandler):
    """`GET /memberships`: none, since the service that knows them is another one."""

    async def get(self) -> None:
        self.answer(memberships=[])


class PingHandler(ApiHandler):
    """`GET /ping`: whether anybody is here."""

    async def get(self) -> None:
        self.answer(message="pong")


default_handlers = [
    (rf"{IAM_PREFIX}/usage/credits", CreditsHandler),
    (rf"{IAM_PREFIX}/whoami", WhoAmIHandler),
    (rf"{IAM_PREFIX}/memberships", MembershipsHandler),
    (rf"{IAM_PREFIX}/ping", PingHandler),
]
