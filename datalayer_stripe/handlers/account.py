"""Handlers of the routes that return the caller's balance, profile and memberships."""

from typing import Annotated, Any, Literal

from pydantic import Field

from ..billing.views import ProfileView, profile_view
from ..models import Model
from .api import ApiHandler, AuthenticatedHandler
from .operation import STORE_ERRORS, Answer, Operation
from .urls import IAM_PREFIX

EmptyList = Annotated[list[Any], Field(max_length=0)]


class CreditsView(Model):
    """The balance of an account, as clients of 2025 read it."""

    credits: int = Field(description="The balance. It can be below zero.", examples=[220])
    quota: None = None
    used: int = Field(description="The credits that were used.", examples=[0])
    last_update: str | None = Field(
        description="When the balance changed last.",
        examples=["2026-01-31T12:00:00+00:00"],
        json_schema_extra={"format": "date-time"},
    )


class CreditsAnswer(Answer):
    """The caller's balance."""

    credits: CreditsView
    reservations: EmptyList = Field(default=[], description="Always empty.")


class WhoAmIAnswer(Answer):
    """The claims of the caller's token."""

    profile: ProfileView


class MembershipsAnswer(Answer):
    """The memberships of the caller, which another service manages."""

    memberships: EmptyList = Field(default=[], description="Always empty.")


class PingAnswer(Answer):
    """A sign of life."""

    message: Literal["pong"] = "pong"


class CreditsHandler(AuthenticatedHandler):
    """`GET /usage/credits`: return the balance of the caller's account."""

    @Operation(CreditsAnswer, errors=STORE_ERRORS)
    async def get(self) -> None:
        account = await self.service.store.accounts.get(self.identity.account_uid)
        view = CreditsView(
            credits=account.credits,
            used=account.used,
            last_update=account.updated_at.isoformat() if account.updated_at else None,
        )
        self.respond(CreditsAnswer(credits=view))


class WhoAmIHandler(AuthenticatedHandler):
    """`GET /whoami`: return the caller's profile from the token. Clients validate a token here."""

    @Operation(WhoAmIAnswer)
    async def get(self) -> None:
        self.respond(WhoAmIAnswer(profile=profile_view(self.identity)))


class MembershipsHandler(AuthenticatedHandler):
    """`GET /memberships`: return an empty list; another service manages memberships."""

    @Operation(MembershipsAnswer)
    async def get(self) -> None:
        self.respond(MembershipsAnswer())


class PingHandler(ApiHandler):
    """`GET /ping`: return `pong`, without authentication."""

    @Operation(PingAnswer)
    async def get(self) -> None:
        self.respond(PingAnswer())


default_handlers = [
    (rf"{IAM_PREFIX}/usage/credits", CreditsHandler),
    (rf"{IAM_PREFIX}/whoami", WhoAmIHandler),
    (rf"{IAM_PREFIX}/memberships", MembershipsHandler),
    (rf"{IAM_PREFIX}/ping", PingHandler),
]
