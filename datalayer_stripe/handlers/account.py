"""Handlers of the routes that return the caller's balance, profile and memberships."""

from ..billing.views import profile_view
from .api import ApiHandler, AuthenticatedHandler
from .urls import IAM_PREFIX


class CreditsHandler(AuthenticatedHandler):
    """`GET /usage/credits`: return the balance of the caller's account."""

    async def get(self) -> None:
        account = await self.service.store.accounts.get(self.identity.account_uid)
        self.respond(
            credits={
                "credits": account.credits,
                "quota": None,
                "used": account.used,
                "last_update": account.updated_at and account.updated_at.isoformat(),
            },
            reservations=[],
        )


class WhoAmIHandler(AuthenticatedHandler):
    """`GET /whoami`: return the caller's profile from the token. Clients validate a token here."""

    async def get(self) -> None:
        self.respond(profile=profile_view(self.identity))


class MembershipsHandler(AuthenticatedHandler):
    """`GET /memberships`: return an empty list; another service manages memberships."""

    async def get(self) -> None:
        self.respond(memberships=[])


class PingHandler(ApiHandler):
    """`GET /ping`: return `pong`, without authentication."""

    async def get(self) -> None:
        self.respond(message="pong")


default_handlers = [
    (rf"{IAM_PREFIX}/usage/credits", CreditsHandler),
    (rf"{IAM_PREFIX}/whoami", WhoAmIHandler),
    (rf"{IAM_PREFIX}/memberships", MembershipsHandler),
    (rf"{IAM_PREFIX}/ping", PingHandler),
]
