"""Buying credits: `/api/iam/stripe/v1/topup`."""

from pydantic import BaseModel, Field

from ..billing.views import package_view
from .base import AuthenticatedHandler


class PriceRequest(BaseModel):
    """What to buy: a price of Stripe's. Anything else that a browser says of it is ignored."""

    price_id: str = Field(min_length=1, max_length=255, strict=True)


class PricesHandler(AuthenticatedHandler):
    """`GET /topup/prices`: the packages for sale."""

    async def get(self) -> None:
        packages = await self.service.catalog.packages()
        self.answer(prices=[package_view(package) for package in packages])


class TopUpPaymentIntentHandler(AuthenticatedHandler):
    """`POST /topup/payment-intent`: a PaymentIntent for a package."""

    async def post(self) -> None:
        wanted = self.json_body(PriceRequest)
        started = await self.service.topups.start(
            self.identity, wanted.price_id, self.request.headers.get("Idempotency-Key")
        )
        self.answer(
            201,
            client_secret=started.client_secret,
            payment_intent_id=started.payment_intent_id,
            price_id=started.package.id,
            amount=started.package.unit_amount,
            currency=started.package.currency,
            credits=started.package.credits,
            publishable_key=self.service.settings.stripe_js_api_key,
        )


default_handlers = [
    (r"/api/iam/stripe/v1/(?:topup|plans)/prices", PricesHandler),
    (r"/api/iam/stripe/v1/topup/payment-intent", TopUpPaymentIntentHandler),
]
