"""Packages of credits and monthly plans for sale, read from Stripe's prices.

Prices are cached for a short time. The cache is cleared when Stripe sends an event about them.
"""

import asyncio
import logging
import re
import time
from collections.abc import Callable, Sequence

from pydantic import ValidationError

from ..errors import NotConfigured, PriceNotFound, StripeObjectMissing
from ..models import Package, Plan
from ..settings import variable
from ..stripe_api.client import StripeClient
from ..stripe_api.objects import (
    StripeData,
    id_of,
    mapping_in,
    metadata_of,
    parse_count,
    price_code,
    price_name,
)
from .cached import Cached
from .configuration_faults import ConfigurationFaults

logger = logging.getLogger(__name__)

_TOPUP_VARIABLE = variable("stripe_topup_product_id")
_PLAN_VARIABLE = variable("stripe_subscription_product_ids")

_NOTHING_FOR_SALE = (
    "Nothing can be bought at the moment: the shop is not set up correctly. "
    "Its operator has to fix that."
)

_PRICE_ID = re.compile(r"[A-Za-z0-9_]{1,255}")


class Catalog:
    """Packages and plans of the configured products.

    Args:
        stripe: The client of Stripe's API.
        topup_product_id: The product whose one-time prices are the packages.
        subscription_product_ids: The products whose monthly prices are the plans.
        faults: Records products that Stripe does not have.
        monotonic: Returns the time in seconds.
    """

    def __init__(
        self,
        stripe: StripeClient,
        *,
        topup_product_id: str,
        subscription_product_ids: Sequence[str],
        faults: ConfigurationFaults,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stripe = stripe
        self._topup_product_id = topup_product_id
        self._subscription_product_ids = tuple(subscription_product_ids)
        self._faults = faults
        self._packages = Cached(self._fetch_packages, monotonic)
        self._plans = Cached(self._fetch_plans, monotonic)

    def clear_cache(self) -> None:
        """Read all prices again from Stripe when they are needed next."""
        self._packages.clear()
        self._plans.clear()

    async def packages(self) -> tuple[Package, ...]:
        """Return the packages for sale, cheapest first. One of them is the default.

        Raises:
            NotConfigured: Stripe does not have the product.
            StripeUnavailable: Stripe does not answer.
        """
        return await self._packages.get()

    async def plans(self) -> tuple[Plan, ...]:
        """Return the monthly plans for sale, cheapest first.

        Raises:
            NotConfigured: Stripe has none of the products.
            StripeUnavailable: Stripe does not answer.
        """
        return await self._plans.get()

    def cached_plan_name(self, price_id: str) -> str | None:
        """Return the name of a plan from the cache, of any age, or None.

        Args:
            price_id: The price of the plan, `price_…`.
        """
        return next((plan.name for plan in self._plans.latest or () if plan.id == price_id), None)

    async def package(self, price_id: str) -> Package:
        """Return the package of a price.

        Args:
            price_id: The price, `price_…`.

        Raises:
            PriceNotFound: The price is not for sale.
        """
        for package in await self.packages():
            if package.id == price_id:
                return package
        price = await self._uncached_price(price_id)
        found = _package(price) if price.get("type") == "one_time" else None
        if found is None or found.product_id != self._topup_product_id:
            raise PriceNotFound
        return found

    async def plan(self, price_id: str) -> Plan:
        """Return the plan of a price.

        Args:
            price_id: The price, `price_…`.

        Raises:
            PriceNotFound: The price is not for sale.
        """
        for plan in await self.plans():
            if plan.id == price_id:
                return plan
        found = plan_of(await self._uncached_price(price_id))
        if found is None or found.product_id not in self._subscription_product_ids:
            raise PriceNotFound
        return found

    async def _uncached_price(self, price_id: str) -> StripeData:
        """Return a price that is not in the cache. Raise PriceNotFound if it is not for sale."""
        if not _PRICE_ID.fullmatch(price_id):
            raise PriceNotFound
        try:
            price = await self._stripe.retrieve_price(price_id)
        except StripeObjectMissing:
            raise PriceNotFound from None
        if not _is_for_sale(price):
            raise PriceNotFound
        return price

    async def _fetch_packages(self) -> tuple[Package, ...]:
        """Return the packages for sale from Stripe, and report faults of the configuration.

        Raises:
            NotConfigured: Stripe does not have the product.
        """
        try:
            prices = await self._stripe.list_prices(self._topup_product_id, recurring=False)
        except StripeObjectMissing:
            self._report_unknown(_TOPUP_VARIABLE, [self._topup_product_id])
            raise NotConfigured(_NOTHING_FOR_SALE) from None
        for_sale = [price for price in prices if _is_for_sale(price)]
        packages = [package for price in for_sale if (package := _package(price))]
        packages.sort(key=lambda package: (package.unit_amount, package.id))
        if not packages:
            self._faults.report(
                _TOPUP_VARIABLE,
                f"{self._topup_product_id} has no price that can be bought: no package is for sale",
            )
            return ()
        self._faults.clear(_TOPUP_VARIABLE)
        default = _default_of(packages, for_sale)
        return tuple(
            package.model_copy(update={"default": package.id == default}) for package in packages
        )

    async def _fetch_plans(self) -> tuple[Plan, ...]:
        """Return the plans for sale from Stripe, and report faults of the configuration.

        Raises:
            NotConfigured: Stripe has none of the products.
        """
        listed = await asyncio.gather(
            *(self._plan_prices(product_id) for product_id in self._subscription_product_ids)
        )
        unknown = [
            product_id
            for product_id, prices in zip(self._subscription_product_ids, listed, strict=True)
            if prices is None
        ]
        if unknown:
            self._report_unknown(_PLAN_VARIABLE, unknown)
        else:
            self._faults.clear(_PLAN_VARIABLE)
        if len(unknown) == len(listed):
            raise NotConfigured(_NOTHING_FOR_SALE)
        plans = [
            plan
            for prices in listed
            if prices is not None
            for price in prices
            if _is_for_sale(price) and (plan := plan_of(price))
        ]
        return tuple(sorted(plans, key=lambda plan: (plan.amount, plan.id)))

    async def _plan_prices(self, product_id: str) -> Sequence[StripeData] | None:
        """Return the recurring prices of a product; None if Stripe does not have the product."""
        try:
            return await self._stripe.list_prices(product_id, recurring=True)
        except StripeObjectMissing:
            return None

    def _report_unknown(self, variable: str, product_ids: Sequence[str]) -> None:
        self._faults.report(
            variable, f"Stripe does not have {', '.join(product_ids)} in the mode of the secret key"
        )


def _is_for_sale(price: StripeData) -> bool:
    product = price.get("product")
    archived = isinstance(product, dict) and product.get("active") is False
    return bool(price.get("active")) and not archived


def package_of(price: StripeData) -> Package | None:
    """Return the package of a one-time price, or None if its amount or credits are not valid."""
    credits, unit_amount = _credits_of(price), price.get("unit_amount")
    if not credits or not unit_amount:
        return None
    try:
        return Package(
            id=price["id"],
            product_id=id_of(price.get("product")) or "",
            name=price_name(price) or f"{credits} credits",
            unit_amount=unit_amount,
            currency=price["currency"],
            credits=credits,
        )
    except ValidationError:
        return None


def plan_of(price: StripeData) -> Plan | None:
    """Return the plan of a price; None unless it is a fixed amount every month."""
    recurring = mapping_in(price, "recurring")
    monthly = recurring.get("interval") == "month" and recurring.get("interval_count") == 1
    if not monthly or price.get("unit_amount") is None:
        return None
    return Plan(
        id=price["id"],
        product_id=id_of(price.get("product")) or "",
        name=price_name(price) or price["id"],
        code=price_code(price),
        amount=price["unit_amount"],
        currency=price["currency"],
        interval="month",
        included_runs=parse_count(metadata_of(price).get("included_runs")),
    )


def _package(price: StripeData) -> Package | None:
    """Return the package of a one-time price. Log it and return None if it is not valid."""
    package = package_of(price)
    if package is not None:
        return package
    credits = _credits_of(price)
    if credits and price.get("unit_amount"):
        logger.warning("Price %s is left out: %s credits are out of bounds", price["id"], credits)
    else:
        logger.warning(
            "Price %s is left out: it needs a fixed amount, and its credits as "
            "transform_quantity.divide_by or as `credits` in its metadata",
            price["id"],
        )
    return None


def _credits_of(price: StripeData) -> int | None:
    quantity: int | None = mapping_in(price, "transform_quantity").get("divide_by")
    return quantity or parse_count(metadata_of(price).get("credits"))


def _default_of(packages: Sequence[Package], prices: Sequence[StripeData]) -> str:
    """Return the id of the product's default price if it is for sale, else of the cheapest one."""
    product = prices[0].get("product")
    preferred = id_of(product.get("default_price")) if isinstance(product, dict) else None
    return next((package.id for package in packages if package.id == preferred), packages[0].id)
