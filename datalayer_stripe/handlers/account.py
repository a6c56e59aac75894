"""The caller's credits and memberships."""

from .base import ApiHandler, AuthenticatedHandler


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


class MembershipsHandler(AuthenticatedHandler):
    """`GET /memberships`: none, since the service that knows them is another one."""

    async def get(self) -> None:
        self.answer(memberships=[])


class PingHandler(ApiHandler):
    """`GET /ping`: whether anybody is here."""

    async def get(self) -> None:
        self.answer(message="pong")


default_handlers = [
    (r"/api/iam/v1/usage/credits", CreditsHandler),
    (r"/api/iam/v1/memberships", MembershipsHandler),
    (r"/api/iam/v1/ping", PingHandler),
]
