"""Handlers of the operator's list of events, and of their replay."""

from ..urls import ADMIN_PREFIX
from .base import AdminHandler
from .models import EventsQuery, ReplayRequest


class EventsHandler(AdminHandler):
    """`GET /admin/events`: return a page of events, newest first."""

    async def get(self) -> None:
        query = self.query(EventsQuery)
        page = await self.administration.events.page(
            status=query.status,
            event_type=query.type,
            account_uid=query.account_uid,
            limit=query.limit,
            cursor=query.cursor,
        )
        self.respond_with(page)


class ReplayHandler(AdminHandler):
    """`POST /admin/events/{id}/replay`: process an event again."""

    async def post(self, id: str) -> None:
        self.json_body(ReplayRequest)
        operator = self.identity.account_uid
        self.service.rate_limiter.take(operator)
        replay = await self.administration.events.replay(id, operator=operator)
        self.respond_with(replay)


default_handlers = [
    (rf"{ADMIN_PREFIX}/events", EventsHandler),
    (rf"{ADMIN_PREFIX}/events/(?P<id>evt_[A-Za-z0-9_]{{1,250}})/replay", ReplayHandler),
]
