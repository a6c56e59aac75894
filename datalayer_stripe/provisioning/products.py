"""Plan the two products: that of the packages of credits, and that of the monthly plan."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import StripeObjectMissing
from ..settings import variable
from ..stripe_api.account_setup import AccountSetupCalls
from ..stripe_api.objects import StripeData, id_of, metadata_of
from ..stripe_api.transport import StripeDict
from .creation import create_once
from .steps import MANAGED_METADATA, Action, Save, Step, Variables

_ROLE = "role"


@dataclass(frozen=True)
class ProductRole:
    """What a product is for.

    Attributes:
        role: Its value in the metadata, by which the product is found.
        name: The name of a new product. It may be changed in the dashboard.
        subject: The product in words.
        variable: The environment variable of its id.
    """

    role: str
    name: str
    subject: str
    variable: str

    @property
    def by_hand(self) -> str:
        """What to do if Stripe does not permit to create or change the product."""
        return (
            f"Create it at https://dashboard.stripe.com/products with its prices, and set "
            f"{self.variable} to its id."
        )


CREDITS_PRODUCT = ProductRole(
    "credits", "Credits", "product of the packages", variable("stripe_topup_product_id")
)
PLAN_PRODUCT = ProductRole(
    "plan", "Monthly plan", "product of the plan", variable("stripe_subscription_product_ids")
)


@dataclass
class PlannedProduct:
    """A product that exists, or that a step creates.

    Attributes:
        step: The step.
        id: Its id, once it exists.
        default_price: The id of its default price, or None.
    """

    step: Step
    id: str | None
    default_price: str | None


async def plan_product(
    calls: AccountSetupCalls, role: ProductRole, configured: str
) -> PlannedProduct:
    """Plan a product.

    It is found by its id in the configuration, or else by its metadata.

    Args:
        calls: The calls.
        role: What the product is for.
        configured: The value of its variable, or an empty string.
    """
    ids = [one for one in configured.split(",") if one]
    product = await _configured_product(calls, ids) or await _managed_product(calls, role)
    if product is not None:
        value = configured if product["id"] in ids else str(product["id"])
        step = _keep(calls, role, product, {role.variable: value})
        return PlannedProduct(step, product["id"], id_of(product.get("default_price")))

    missing = f", because Stripe does not have {', '.join(ids)}" if ids else ""

    async def create(save: Save) -> None:
        created = await _create(calls, role)
        planned.id = created["id"]
        save({role.variable: created["id"]})

    step = Step(
        role.subject,
        Action.CREATE,
        role.name + missing,
        create,
        sets=[role.variable],
        by_hand=role.by_hand,
    )
    planned = PlannedProduct(step, None, None)
    return planned


async def _create(calls: AccountSetupCalls, role: ProductRole) -> StripeDict:
    params = {"name": role.name, "metadata": {**MANAGED_METADATA, _ROLE: role.role}}

    async def create(key: str | None) -> StripeDict:
        return await calls.create_product(params, idempotency_key=key)

    async def is_current(created: StripeDict) -> bool:
        found = await _configured_product(calls, [created["id"]])
        return found is not None and _is_managed(found, role) and bool(found["active"])

    return await create_once(create, ["product", params], is_current=is_current)


def _is_managed(product: StripeData, role: ProductRole) -> bool:
    wanted = {**MANAGED_METADATA, _ROLE: role.role}
    return wanted.items() <= metadata_of(product).items()


def _keep(
    calls: AccountSetupCalls, role: ProductRole, product: StripeData, variables: Variables
) -> Step:
    """Return the step of an existing product."""
    name = f"{product.get('name')} ({product['id']})"
    if product.get("active"):
        return Step(role.subject, Action.UNCHANGED, name, variables=variables)

    async def activate(_save: Save) -> None:
        await calls.update_product(product["id"], {"active": True})

    detail = f"{name}: for sale again"
    return Step(role.subject, Action.CHANGE, detail, activate, variables, by_hand=role.by_hand)


async def _configured_product(
    calls: AccountSetupCalls, product_ids: Sequence[str]
) -> dict[str, Any] | None:
    """Return the first product of these ids that Stripe has, or None."""
    for product_id in product_ids:
        try:
            return await calls.retrieve_product(product_id)
        except StripeObjectMissing:
            continue
    return None


async def _managed_product(calls: AccountSetupCalls, role: ProductRole) -> dict[str, Any] | None:
    """Return the oldest product that a set-up has created for this role, active ones first."""
    found = [
        product
        async for page in calls.product_pages()
        for product in page
        if _is_managed(product, role)
    ]
    return min(found, key=lambda one: (not one["active"], one["created"]), default=None)
