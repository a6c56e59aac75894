"""Handlers of the routes that sell credits: the routes below `/topup`."""

from pydantic import BaseModel, Field

from ..billing.history import MAX_PAGE_SIZE
from ..billing.views import movement_view, package_view
from .api import AuthenticatedHandler
from .urls import STRIPE_PREFIX


class PriceRequest(BaseModel):
    """Body of a purchase: the id of a Stripe price. All other fields are ignored."""

    price_id: str = Field(min_length=1, max_length=255, strict=True)


class PricesHandler(AuthenticatedHandler):
    """`GET /topup/prices`: return the packages for sale."""

    async def get(self) -> None:
        packages = await self.service.catalog.packages()
        self.respond(prices=[package_view(package) for package in packages])


class TopUpPaymentIntentHandler(AuthenticatedHandler):
    """`POST /topup/payment-intent`: create a PaymentIntent for a package."""

    async def post(self) -> None:
        body = self.json_body(PriceRequest)
        self.service.rate_limiter.take(self.identity.account_uid)
        started = await self.service.checkout.start(
            self.identity, body.price_id, self.request.headers.get("Idempotency-Key")
        )
        self.respond(
            201,
            client_secret=started.client_secret,
            payment_intent_id=started.payment_intent_id,
            price_id=started.package.id,
            amount=started.package.unit_amount,
            currency=started.package.currency,
            credits=started.package.credits,
            publishable_key=self.service.settings.stripe_js_api_key,
        )


class TopUpStatusHandler(AuthenticatedHandler):
    """`GET /topup/payment-intent/{id}`: return whether a top-up is paid and credited."""

    async def get(self, id: str) -> None:
        status = await self.service.topup_statuses.of(self.identity.account_uid, id)
        self.respond(**status.model_dump())


class HistoryQuery(BaseModel):
    """Query of the history: the size of the page, and the cursor of the previous page."""

    limit: int = Field(default=20, ge=1, le=MAX_PAGE_SIZE)
    cursor: str | None = Field(default=None, max_length=1000)


class HistoryHandler(AuthenticatedHandler):
    """`GET /topup/history`: return the movements of the balance, newest first."""

    async def get(self) -> None:
        query = self.query(HistoryQuery)
        page = await self.service.history.page(
            self.identity.account_uid, limit=query.limit, cursor=query.cursor
        )
        self.respond(
            history=[movement_view(entry) for entry in page.entries],
            next_cursor=page.next_cursor,
        )


default_handlers = [
    (rf"{STRIPE_PREFIX}/(?:topup|plans)/prices", PricesHandler),
    (rf"{STRIPE_PREFIX}/topup/payment-intent", TopUpPaymentIntentHandler),
    (rf"{STRIPE_PREFIX}/topup/payment-intent/(?P<id>pi_[A-Za-z0-9]{{1,250}})", TopUpStatusHandler),
    (rf"{STRIPE_PREFIX}/topup/history", HistoryHandler),
]
