"""Handlers of the operator's list of events, and of their replay."""

from ...errors import DeliveryFailed, NotFound
from ..operation import STORE_ERRORS, STRIPE_ERRORS, Operation, Parameter
from ..urls import ADMIN_PREFIX
from .base import AdminHandler
from .models import EventsAnswer, EventsQuery, ReplayAnswer, ReplayRequest

EVENT_ID = Parameter(
    name="id", place="path", description="The id of the event.", example="evt_Example"
)


class EventsHandler(AdminHandler):
    """`GET /admin/events`: return a page of events, newest first."""

    @Operation(EventsAnswer, query=EventsQuery, errors=STORE_ERRORS)
    async def get(self) -> None:
        query = self.query(EventsQuery)
        page = await self.read(
            self.administration.events.page(
                status=query.status,
                event_type=query.type,
                account_uid=query.account_uid,
                limit=query.limit,
                cursor=query.cursor,
            )
        )
        self.respond_with(EventsAnswer, page)


class ReplayHandler(AdminHandler):
    """`POST /admin/events/{id}/replay`: process an event again."""

    @Operation(
        ReplayAnswer,
        body=ReplayRequest,
        parameters=(EVENT_ID,),
        errors=(*STORE_ERRORS, *STRIPE_ERRORS, NotFound, DeliveryFailed),
    )
    async def post(self, id: str) -> None:
        self.json_body(ReplayRequest)
        operator = self.identity.account_uid
        self.service.rate_limiter.take(operator)
        replay = await self.administration.events.replay(id, operator=operator)
        self.respond_with(ReplayAnswer, replay)


default_handlers = [
    (rf"{ADMIN_PREFIX}/events", EventsHandler),
    # The id is `evt_…`, or `reconciled-…` of an event that reconciliation has created.
    (rf"{ADMIN_PREFIX}/events/(?P<id>[A-Za-z0-9_-]{{1,255}})/replay", ReplayHandler),
]
