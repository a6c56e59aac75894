"""Handlers of the operator's overview and of the findings about the set-up."""

from ..operation import STORE_ERRORS, Operation
from ..urls import ADMIN_PREFIX, WEBHOOK_PATH
from .base import AdminHandler
from .models import FindingsAnswer, OverviewAnswer, OverviewQuery


class OverviewHandler(AdminHandler):
    """`GET /admin/overview`: return the sums of the last days, and what waits now."""

    @Operation(OverviewAnswer, query=OverviewQuery, errors=STORE_ERRORS)
    async def get(self) -> None:
        query = self.query(OverviewQuery)
        overview = await self.read(self.administration.overviews.of_last(query.days))
        self.respond_with(OverviewAnswer, overview)


class DoctorHandler(AdminHandler):
    """`GET /admin/doctor`: return what the checks of the set-up find."""

    @Operation(FindingsAnswer, errors=STORE_ERRORS)
    async def get(self) -> None:
        service, path = self.service, f"{self.app_state.base_path}{WEBHOOK_PATH}"
        findings = await self.administration.findings.get(lambda: service.check_context(path))
        self.respond_with(FindingsAnswer, findings)


default_handlers = [
    (rf"{ADMIN_PREFIX}/overview", OverviewHandler),
    (rf"{ADMIN_PREFIX}/doctor", DoctorHandler),
]
