"""A local Stripe with packages and a plan for sale, and the purchases of its customers."""

from collections.abc import Callable, Mapping
from typing import Any

from ..billing.metadata import subscription_metadata, top_up_metadata
from ..sandbox import Sandbox

PACKAGES: Mapping[int, int] = {50: 500, 220: 2000, 600: 5000}
"""The packages for sale: credits to price in cents."""
PLAN_AMOUNT = 2900
"""The plan's monthly price in cents."""

StripeData = dict[str, Any]


class ShopSandbox(Sandbox):
    """The local Stripe, with packages of 50, 220 and 600 credits and a monthly plan for sale.

    Amounts are in cents. As at Stripe, each action makes events.

    Attributes:
        topup_product: The id of the product whose prices are the packages.
        plan_product: The id of the product whose price is the plan.
        packages: The id of each package's price, by its credits.
        plan: The id of the plan's price.
    """

    def __init__(self, clock: Callable[[], float] | None = None, seed: int | None = None) -> None:
        """Create the products and prices.

        Args:
            clock: Returns epoch seconds; by default the system's clock.
            seed: Makes ids repeatable.
        """
        if clock is None:
            super().__init__(seed=seed)
        else:
            super().__init__(clock=clock, seed=seed)
        self.topup_product: str = self.create_product(name="Credits")["id"]
        self.plan_product: str = self.create_product(name="Monthly plan")["id"]
        self.packages: dict[int, str] = {
            credits: self.create_price(
                product=self.topup_product, unit_amount=amount, credits=credits
            )["id"]
            for credits, amount in PACKAGES.items()
        }
        self.plan: str = self.create_price(
            product=self.plan_product, unit_amount=PLAN_AMOUNT, recurring={"interval": "month"}
        )["id"]
        self._customers: dict[str, str] = {}

    def customer_of(self, account_uid: str) -> str:
        """Return the id of an account's customer, who has a valid card.

        The first call for an account creates the customer.

        Args:
            account_uid: The account's id.
        """
        if account_uid not in self._customers:
            customer = self.create_customer(
                metadata={"account_uid": account_uid}, payment_method="pm_card_visa"
            )
            self._customers[account_uid] = customer["id"]
        return self._customers[account_uid]

    def buy_credits(self, account_uid: str, credits: int = 50) -> StripeData:
        """Buy and pay a package for an account.

        Args:
            account_uid: The account's id.
            credits: The package: 50, 220 or 600.

        Returns:
            The paid PaymentIntent.
        """
        intent = self.call(
            "POST",
            "/v1/payment_intents",
            amount=PACKAGES[credits],
            currency="usd",
            customer=self.customer_of(account_uid),
            description=f"{credits} credits",
            metadata=top_up_metadata(
                account_uid=account_uid, price_id=self.packages[credits], credits=credits
            ),
        )
        return self.confirm_payment(intent["id"])

    def subscribe(self, account_uid: str) -> StripeData:
        """Subscribe an account to the plan, and pay the first month.

        Args:
            account_uid: The account's id.

        Returns:
            The active subscription.
        """
        customer = self.customer_of(account_uid)
        cards = self.call("GET", "/v1/payment_methods", customer=customer, type="card")
        return self.call(
            "POST",
            "/v1/subscriptions",
            customer=customer,
            items=[{"price": self.plan}],
            default_payment_method=cards["data"][0]["id"],
            metadata=subscription_metadata(account_uid),
        )
