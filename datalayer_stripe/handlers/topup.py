"""Handlers of the routes that sell credits: the routes below `/topup`."""

from pydantic import BaseModel, Field

from ..billing.history import MAX_PAGE_SIZE
from ..billing.views import MovementView, PackageView, movement_view, package_view
from ..errors import (
    Conflict,
    Forbidden,
    NotConfigured,
    NotFound,
    PriceNotFound,
    SubscriptionRequired,
)
from ..reconciliation.on_demand import TopUpStatus
from .account_scope import AccountScope
from .api import AuthenticatedHandler
from .operation import (
    CURSOR_PATTERN,
    PURCHASE_ERRORS,
    STORE_ERRORS,
    STRIPE_ERRORS,
    Answer,
    Operation,
    Parameter,
)
from .urls import STRIPE_PREFIX

IDEMPOTENCY_KEY = Parameter(
    name="Idempotency-Key",
    description="A key of the client. The same key of the same account returns the same "
    "PaymentIntent; a new key creates a new one.",
)

PAYMENT_INTENT_ID = Parameter(
    name="id", place="path", description="The id of the PaymentIntent.", example="pi_Example"
)


class PriceRequest(AccountScope):
    """Body of a purchase: the id of a Stripe price. All other fields are ignored."""

    price_id: str = Field(
        min_length=1,
        max_length=255,
        strict=True,
        description="The `id` of a price for sale.",
        examples=["price_ExampleOfAPrice"],
    )


class PricesAnswer(Answer):
    """The packages for sale, cheapest first."""

    prices: list[PackageView]


class PaymentIntentAnswer(Answer):
    """A PaymentIntent that the browser confirms with Stripe.js."""

    client_secret: str = Field(repr=False, examples=["pi_Example_secret_Example"])
    payment_intent_id: str = Field(examples=["pi_Example"])
    price_id: str = Field(examples=["price_ExampleOfAPrice"])
    amount: int = Field(description="In the currency's minor unit.", examples=[500])
    currency: str = Field(examples=["usd"])
    credits: int = Field(examples=[50])
    publishable_key: str = Field(examples=["pk_test_Example"])


class TopUpStatusAnswer(TopUpStatus, Answer):
    """The state of a top-up."""


class HistoryAnswer(Answer):
    """A page of the movements of the balance, newest first."""

    history: list[MovementView]
    next_cursor: str | None = Field(
        description="The `cursor` of the next page; null on the last page.", examples=[None]
    )


class PricesHandler(AuthenticatedHandler):
    """`GET /topup/prices`: return the packages for sale."""

    @Operation(PricesAnswer, errors=(*STRIPE_ERRORS, NotConfigured))
    async def get(self) -> None:
        packages = await self.service.catalog.packages()
        self.respond(PricesAnswer(prices=[package_view(package) for package in packages]))


class TopUpPaymentIntentHandler(AuthenticatedHandler):
    """`POST /topup/payment-intent`: create a PaymentIntent for a package.

    An unpaid PaymentIntent of the last 15 minutes for the same package is returned again, so that
    two windows lead to one charge, unless the client sends an `Idempotency-Key` of its own.
    """

    @Operation(
        PaymentIntentAnswer,
        status=201,
        body=PriceRequest,
        parameters=(IDEMPOTENCY_KEY,),
        errors=(*PURCHASE_ERRORS, NotConfigured, PriceNotFound, SubscriptionRequired, Conflict),
    )
    async def post(self) -> None:
        body = self.json_body(PriceRequest)
        self.service.rate_limiter.take(self.identity.account_uid)
        started = await self.service.checkout.start(
            self.identity, body.price_id, self.request.headers.get(IDEMPOTENCY_KEY.name)
        )
        answer = PaymentIntentAnswer(
            client_secret=started.client_secret,
            payment_intent_id=started.payment_intent_id,
            price_id=started.package.id,
            amount=started.package.unit_amount,
            currency=started.package.currency,
            credits=started.package.credits,
            publishable_key=self.service.settings.stripe_js_api_key,
        )
        self.respond(answer, 201)


class TopUpStatusHandler(AuthenticatedHandler):
    """`GET /topup/payment-intent/{id}`: return whether a top-up is paid and credited.

    If it is paid and the webhook has not arrived, the credits are added before the answer.
    """

    @Operation(
        TopUpStatusAnswer,
        parameters=(PAYMENT_INTENT_ID,),
        errors=(*STORE_ERRORS, *STRIPE_ERRORS, Forbidden, NotFound),
    )
    async def get(self, id: str) -> None:
        status = await self.service.topup_statuses.of(self.identity.account_uid, id)
        self.respond(TopUpStatusAnswer(**status.model_dump()))


class HistoryQuery(BaseModel):
    """Query of the history: the size of the page, and the cursor of the previous page."""

    limit: int = Field(default=20, ge=1, le=MAX_PAGE_SIZE, description="The size of the page.")
    cursor: str | None = Field(
        default=None,
        max_length=1000,
        pattern=CURSOR_PATTERN,
        description="The `next_cursor` of the previous page.",
    )


class HistoryHandler(AuthenticatedHandler):
    """`GET /topup/history`: return the movements of the balance, newest first."""

    @Operation(HistoryAnswer, query=HistoryQuery, errors=STORE_ERRORS)
    async def get(self) -> None:
        query = self.query(HistoryQuery)
        page = await self.service.history.page(
            self.identity.account_uid, limit=query.limit, cursor=query.cursor
        )
        movements = [movement_view(entry) for entry in page.entries]
        self.respond(HistoryAnswer(history=movements, next_cursor=page.next_cursor))


default_handlers = [
    (rf"{STRIPE_PREFIX}/(?:topup|plans)/prices", PricesHandler),
    (rf"{STRIPE_PREFIX}/topup/payment-intent", TopUpPaymentIntentHandler),
    (rf"{STRIPE_PREFIX}/topup/payment-intent/(?P<id>pi_[A-Za-z0-9]{{1,250}})", TopUpStatusHandler),
    (rf"{STRIPE_PREFIX}/topup/history", HistoryHandler),
]
