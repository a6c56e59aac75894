"""Checks of the products and their prices."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

from ..billing.catalog import package_of, plan_of
from ..errors import CannotCheck
from ..models import Package
from ..settings import variable
from ..stripe_api.objects import StripeData, mapping_in
from .checks import Subject
from .context import CheckContext

SUBJECT = Subject("catalog")

_PACKAGES = variable("stripe_topup_product_id")
_PLANS = variable("stripe_subscription_product_ids")
_PRODUCTS_PAGE = "https://dashboard.stripe.com/products"


@SUBJECT.error(
    "products",
    "Stripe has the products of the settings.",
    advice=f"Set {_PACKAGES} and {_PLANS} to "
    f"ids of {_PRODUCTS_PAGE}, in the mode of the key; or run `datalayer-stripe setup`.",
)
async def products(context: CheckContext) -> Sequence[str]:
    mode = "live" if context.settings.livemode else "test"
    return [
        f"Stripe does not have {product_id} in {mode} mode."
        for product_id in _product_ids(context)
        if await context.account.product(product_id) is None
    ]


@SUBJECT.error(
    "active",
    "The products are active.",
    advice=f"Unarchive the product at {_PRODUCTS_PAGE}, or set its variable to another product.",
)
async def active(context: CheckContext) -> Sequence[str]:
    found = [await context.account.product(one) for one in _product_ids(context)]
    return [
        f"{product['id']} is archived: nothing of it can be bought."
        for product in found
        if product is not None and not product["active"]
    ]


@SUBJECT.error(
    "not-swapped",
    "The products are not swapped.",
    advice=f"{_PACKAGES} is the product with one-time prices, and {_PLANS} the one with the "
    "monthly price. Swap their values.",
)
async def not_swapped(context: CheckContext) -> Sequence[str]:
    top_up = context.settings.stripe_topup_product_id
    plan_ids = context.settings.stripe_subscription_product_ids
    problems = []
    if top_up in plan_ids:
        problems.append(f"{top_up} is both the product of the packages and that of a plan.")
    prices = await context.account.prices(top_up)
    if prices and all(map(_is_recurring, prices)):
        problems.append(f"{top_up}, the product of the packages, has recurring prices only.")
    for product_id in plan_ids:
        prices = await context.account.prices(product_id)
        if prices and not any(map(_is_recurring, prices)):
            problems.append(f"{product_id}, the product of a plan, has one-time prices only.")
    return problems


@SUBJECT.error(
    "packages",
    "A package of credits is for sale.",
    advice="Add a one-time price with package pricing to the product, such as 5.00 for each 50 "
    f"units, at {_PRODUCTS_PAGE}; or run `datalayer-stripe setup`.",
)
async def packages(context: CheckContext) -> Sequence[str]:
    product_id = await _existing(context, context.settings.stripe_topup_product_id)
    if await _packages(context):
        return []
    return [f"{product_id} has no active one-time price with credits: no package is for sale."]


@SUBJECT.warning(
    "package-prices",
    "Package prices are one-time, with credits.",
    advice="Archive the price, or create another one: one-time, with a fixed amount, and with its "
    "credits as package pricing (transform_quantity) or as `credits` in its metadata.",
)
async def package_prices(context: CheckContext) -> Sequence[str]:
    problems = []
    for price in await context.account.prices(context.settings.stripe_topup_product_id):
        if _is_recurring(price):
            problems.append(f"{price['id']} is recurring: it is not sold as a package.")
        elif package_of(price) is None:
            problems.append(f"{price['id']} has no fixed amount or no credits: it is not sold.")
    return problems


@SUBJECT.error(
    "plans",
    "A monthly plan is for sale.",
    advice="Add a recurring price, monthly, with a fixed amount, to the plan's product at "
    f"{_PRODUCTS_PAGE}; or run `datalayer-stripe setup`.",
)
async def plans(context: CheckContext) -> Sequence[str]:
    product_ids = context.settings.stripe_subscription_product_ids
    existing = [one for one in product_ids if await context.account.product(one) is not None]
    if not existing:
        raise CannotCheck("Stripe has none of the plans' products")
    for product_id in existing:
        if any(map(plan_of, await context.account.prices(product_id))):
            return []
    return [f"No monthly price of {', '.join(existing)} is active: nobody can subscribe."]


@SUBJECT.warning(
    "plan-prices",
    "Plan prices are monthly.",
    advice="Archive the price, or create another one: every month, with a fixed amount. Only "
    "monthly prices are shown, and only their subscribers may buy credits.",
)
async def plan_prices(context: CheckContext) -> Sequence[str]:
    return [
        f"{price['id']} is not a fixed amount each month: it is not sold as a plan."
        for product_id in context.settings.stripe_subscription_product_ids
        for price in await context.account.prices(product_id)
        if plan_of(price) is None
    ]


@SUBJECT.warning(
    "price-per-credit",
    "A larger package is not dearer per credit.",
    advice="Check the amount and the credits of both prices: a digit may be missing. To change "
    "one, create another price and archive the old one.",
)
async def price_per_credit(context: CheckContext) -> Sequence[str]:
    by_currency: dict[str, list[Package]] = defaultdict(list)
    for package in await _packages(context):
        by_currency[package.currency].append(package)
    return [
        f"A credit of {large.id} ({large.credits:,} credits) costs more than one of {small.id} "
        f"({small.credits:,} credits)."
        for sold in by_currency.values()
        for small, large in _neighbours(sold)
        if large.unit_amount * small.credits > small.unit_amount * large.credits
    ]


def _product_ids(context: CheckContext) -> tuple[str, ...]:
    settings = context.settings
    ids = (settings.stripe_topup_product_id, *settings.stripe_subscription_product_ids)
    return tuple(dict.fromkeys(ids))


async def _existing(context: CheckContext, product_id: str) -> str:
    if await context.account.product(product_id) is None:
        raise CannotCheck(f"Stripe does not have {product_id}")
    return product_id


async def _packages(context: CheckContext) -> list[Package]:
    prices = await context.account.prices(context.settings.stripe_topup_product_id)
    one_time = (price for price in prices if not _is_recurring(price))
    return [package for price in one_time if (package := package_of(price))]


def _neighbours(sold: Iterable[Package]) -> Iterable[tuple[Package, Package]]:
    """Return the pairs of packages that follow each other in the order of their credits."""
    ordered = sorted(sold, key=lambda package: (package.credits, package.unit_amount))
    return pairwise(ordered)


def _is_recurring(price: StripeData) -> bool:
    return bool(mapping_in(price, "recurring"))
