"""Plan the prices of a product: create those that are missing, retire those that are replaced.

The amount of a price cannot be changed at Stripe. A new amount is a new price, which takes the
lookup key of the old one: https://docs.stripe.com/products-prices/manage-prices. The old price is
then deactivated. Subscriptions on it continue.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from ..errors import SetupError
from ..stripe_api.account_setup import AccountSetupCalls
from ..stripe_api.objects import StripeData, id_of, metadata_of
from ..stripe_api.transport import StripeDict
from .creation import create_once
from .offers import Offer, credits_of, describe_price
from .products import PlannedProduct
from .steps import MANAGED_METADATA, Action, Save, Step


@dataclass(frozen=True)
class PriceKind:
    """What the prices of a product are.

    Attributes:
        subject: One price in words.
        includes: Returns whether a price is of this kind.
        option: An example of the option that sets them, for a message.
        by_hand: What to do if Stripe does not permit to create or change a price.
    """

    subject: str
    includes: Callable[[StripeData], bool]
    option: str
    by_hand: str


@dataclass
class _PlannedPrice:
    """A price that exists, or that a step creates."""

    offer: Offer
    step: Step
    id: str | None


class PricePlanner:
    """Plans the prices of one product.

    Args:
        calls: The calls.
        product: The product.
        kind: What its prices are.
    """

    def __init__(self, calls: AccountSetupCalls, product: PlannedProduct, kind: PriceKind) -> None:
        self._calls = calls
        self._product = product
        self._kind = kind

    async def plan(self, offers: Sequence[Offer]) -> list[Step]:
        """Return the steps after which exactly these offers are for sale.

        Prices of the product that people have created in the dashboard stay for sale, and keep
        their own lookup keys. One without a key that is named by an offer gets that of the offer;
        a new amount of this offer then replaces it.

        Args:
            offers: The offers; if there are none, the prices stay as they are.

        Raises:
            SetupError: There are neither offers nor prices.
        """
        active = await self._active_prices()
        if not offers:
            return self._unchanged(active)
        keyed = await self._calls.list_prices_by_lookup_key([one.lookup_key for one in offers])
        planned = [self._plan_offer(one, keyed.get(one.lookup_key), active) for one in offers]
        kept = {one.id for one in planned}
        replaced = {price["id"] for price in keyed.values()}
        retired = [
            self._retire(price, planned)
            for price in active
            if price["id"] not in kept and (_is_managed(price) or price["id"] in replaced)
        ]
        return [*(one.step for one in planned), *retired]

    async def _active_prices(self) -> list[StripeData]:
        """Return the active prices of this kind, the oldest first."""
        if self._product.id is None:
            return []
        prices = await self._calls.list_active_prices(self._product.id)
        return [price for price in reversed(prices) if self._kind.includes(price)]

    def _unchanged(self, active: Sequence[StripeData]) -> list[Step]:
        if not active:
            raise SetupError(f"No {self._kind.subject} exists yet. Add {self._kind.option}.")
        return [
            Step(self._kind.subject, Action.UNCHANGED, f"{describe_price(one)} ({one['id']})")
            for one in active
        ]

    def _plan_offer(
        self, offer: Offer, keyed: StripeData | None, active: Sequence[StripeData]
    ) -> _PlannedPrice:
        ours = keyed is not None and id_of(keyed.get("product")) == self._product.id
        if keyed is not None and ours and offer.matches(keyed):
            if keyed["active"]:
                detail = f"{offer.text} ({keyed['id']})"
                step = Step(self._kind.subject, Action.UNCHANGED, detail)
                return _PlannedPrice(offer, step, keyed["id"])
            return self._change(offer, keyed, "for sale again", {"active": True})
        same = next((price for price in active if offer.matches(price)), None)
        if same is not None and same.get("lookup_key"):
            # Other systems may find the price by its key, and the key is its `code`.
            step = Step(self._kind.subject, Action.UNCHANGED, f"{offer.text} ({same['id']})")
            return _PlannedPrice(offer, step, same["id"])
        if same is not None:
            changes = {"lookup_key": offer.lookup_key, "transfer_lookup_key": True}
            return self._change(offer, same, "add the lookup key", changes)
        instead = f", instead of {describe_price(keyed)}" if keyed is not None and ours else ""
        return self._create(offer, offer.text + instead)

    def _change(
        self, offer: Offer, price: StripeData, detail: str, changes: Mapping[str, object]
    ) -> _PlannedPrice:
        async def change(_save: Save) -> None:
            await self._calls.update_price(price["id"], changes)

        detail = f"{offer.text} ({price['id']}): {detail}"
        return _PlannedPrice(offer, self._step(Action.CHANGE, detail, change), price["id"])

    def _create(self, offer: Offer, detail: str) -> _PlannedPrice:
        async def create(_save: Save) -> None:
            assert self._product.id is not None  # noqa: S101 (its step has run)
            planned.id = await self._create_once(offer, self._product.id)

        step = self._step(Action.CREATE, detail, create, after=[self._product.step])
        planned = _PlannedPrice(offer, step, None)
        return planned

    async def _create_once(self, offer: Offer, product_id: str) -> str:
        """Create a price, unless a concurrent run does, and return its id."""
        params = offer.params(product_id)

        async def create(key: str | None) -> StripeDict:
            return await self._calls.create_price(params, idempotency_key=key)

        async def is_current(created: StripeDict) -> bool:
            keyed = await self._calls.list_prices_by_lookup_key([offer.lookup_key])
            price = keyed.get(offer.lookup_key)
            return price is not None and price["active"] and price["id"] == created["id"]

        created = await create_once(create, ["price", params], is_current=is_current)
        return str(created["id"])

    def _retire(self, price: StripeData, planned: Sequence[_PlannedPrice]) -> Step:
        """Return the step that takes a price out of sale, after all offers are for sale."""
        same_credits = [one for one in planned if one.offer.credits == credits_of(price)]
        successor = (same_credits or planned)[0]

        async def retire(_save: Save) -> None:
            # Stripe refuses to deactivate the default price of a product.
            if self._product.default_price == price["id"] and self._product.id is not None:
                changes = {"default_price": successor.id}
                await self._calls.update_product(self._product.id, changes)
            await self._calls.update_price(price["id"], {"active": False})

        detail = f"{describe_price(price)} ({price['id']}): no longer for sale"
        return self._step(Action.CHANGE, detail, retire, after=[one.step for one in planned])

    def _step(
        self,
        action: Action,
        detail: str,
        run: Callable[[Save], Awaitable[None]],
        after: Sequence[Step] = (),
    ) -> Step:
        return Step(
            self._kind.subject,
            action,
            detail,
            run,
            by_hand=self._kind.by_hand,
            after=after,
        )


def _is_managed(price: StripeData) -> bool:
    return MANAGED_METADATA.items() <= metadata_of(price).items()
