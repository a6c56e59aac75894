"""Calls that set up a Stripe account: products, prices and configurations of the portal.

Stripe's SDK sends an idempotency key with each write and repeats it in its retries, so that a lost
answer creates nothing twice: https://docs.stripe.com/api/idempotent_requests. A new call has a new
key, unless the caller passes one: it must then check that the object of the answer still exists.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import Any

from .queries import PAGE_SIZE
from .transport import StripeDict, StripeTransport, key_option

_MAX_LOOKUP_KEYS = 10  # in one request: https://docs.stripe.com/api/prices/list


class AccountSetupCalls:
    """Calls on what an account sells, and on how its customers manage what they bought.

    Each method raises a :class:`.RequestError` if Stripe refuses the request or does not answer,
    and :class:`.StripePermissionMissing` if a restricted key may not send it.

    Args:
        transport: Sends the requests.
    """

    def __init__(self, transport: StripeTransport) -> None:
        self._transport = transport
        self._v1 = transport.sdk.v1

    async def retrieve_account(self) -> StripeDict:
        """Return the account of the key: https://docs.stripe.com/api/accounts/retrieve."""
        return await self._transport.call(
            "account.retrieve", self._v1.accounts.retrieve_current_async()
        )

    # Products

    async def retrieve_product(self, product_id: str) -> StripeDict:
        """Return a product.

        Args:
            product_id: The product, `prod_…`.

        Raises:
            StripeObjectMissing: Stripe has no such product.
        """
        return await self._transport.call(
            "products.retrieve", self._v1.products.retrieve_async(product_id)
        )

    def product_pages(self) -> AsyncIterator[list[StripeDict]]:
        """Yield all products, active or not, the newest first."""
        params: Any = {"limit": PAGE_SIZE}
        return self._transport.pages("products.list", partial(self._v1.products.list_async, params))

    async def create_product(
        self, params: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> StripeDict:
        """Create a product.

        Args:
            params: The parameters of https://docs.stripe.com/api/products/create.
            idempotency_key: The idempotency key; by default a new one.
        """
        request: Any = dict(params)
        return await self._transport.call(
            "products.create",
            self._v1.products.create_async(request, key_option(idempotency_key)),
        )

    async def update_product(self, product_id: str, changes: Mapping[str, Any]) -> StripeDict:
        """Change a product, and return it.

        Args:
            product_id: The product, `prod_…`.
            changes: The parameters of https://docs.stripe.com/api/products/update.
        """
        request: Any = dict(changes)
        return await self._transport.call(
            "products.update", self._v1.products.update_async(product_id, request)
        )

    # Prices

    async def list_active_prices(self, product_id: str) -> list[StripeDict]:
        """Return the active prices of a product, one-time and recurring, the newest first.

        Args:
            product_id: The product, `prod_…`.

        Raises:
            StripeObjectMissing: Stripe has no such product.
        """
        request = self._v1.prices.list_async(
            {"product": product_id, "active": True, "limit": PAGE_SIZE}
        )
        return await self._transport.collect("prices.list", request)

    async def list_prices_by_lookup_key(self, lookup_keys: Sequence[str]) -> dict[str, StripeDict]:
        """Return prices by lookup key, active or not.

        Args:
            lookup_keys: The keys. What no price has is left out of the result.
        """
        found: dict[str, StripeDict] = {}
        for first in range(0, len(lookup_keys), _MAX_LOOKUP_KEYS):
            keys = list(lookup_keys[first : first + _MAX_LOOKUP_KEYS])
            request = self._v1.prices.list_async({"lookup_keys": keys, "limit": PAGE_SIZE})
            for price in await self._transport.collect("prices.list", request):
                found[price["lookup_key"]] = price
        return found

    async def create_price(
        self, params: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> StripeDict:
        """Create a price. Its amount, currency and product can never be changed.

        Args:
            params: The parameters of https://docs.stripe.com/api/prices/create.
            idempotency_key: The idempotency key; by default a new one.
        """
        request: Any = dict(params)
        return await self._transport.call(
            "prices.create", self._v1.prices.create_async(request, key_option(idempotency_key))
        )

    async def update_price(self, price_id: str, changes: Mapping[str, Any]) -> StripeDict:
        """Change a price, and return it.

        Args:
            price_id: The price, `price_…`.
            changes: The parameters of https://docs.stripe.com/api/prices/update.

        Raises:
            InvalidRequest: Stripe refuses it, for example to deactivate a default price.
        """
        request: Any = dict(changes)
        return await self._transport.call(
            "prices.update", self._v1.prices.update_async(price_id, request)
        )

    # Customer portal

    async def retrieve_portal_configuration(self, configuration_id: str) -> StripeDict:
        """Return a configuration of the customer portal.

        Args:
            configuration_id: The configuration, `bpc_…`.

        Raises:
            StripeObjectMissing: Stripe has no such configuration.
        """
        return await self._transport.call(
            "billing_portal.configurations.retrieve",
            self._v1.billing_portal.configurations.retrieve_async(configuration_id),
        )

    async def list_portal_configurations(self) -> list[StripeDict]:
        """Return all configurations of the customer portal, active or not, the newest first."""
        request = self._v1.billing_portal.configurations.list_async({"limit": PAGE_SIZE})
        return await self._transport.collect("billing_portal.configurations.list", request)

    async def create_portal_configuration(
        self, params: Mapping[str, Any], *, idempotency_key: str | None = None
    ) -> StripeDict:
        """Create a configuration of the customer portal.

        Args:
            params: The parameters of
                https://docs.stripe.com/api/customer_portal/configurations/create.
            idempotency_key: The idempotency key; by default a new one.
        """
        request: Any = dict(params)
        return await self._transport.call(
            "billing_portal.configurations.create",
            self._v1.billing_portal.configurations.create_async(
                request, key_option(idempotency_key)
            ),
        )

    async def update_portal_configuration(
        self, configuration_id: str, changes: Mapping[str, Any]
    ) -> StripeDict:
        """Change a configuration of the customer portal, and return it.

        Args:
            configuration_id: The configuration, `bpc_…`.
            changes: The parameters of
                https://docs.stripe.com/api/customer_portal/configurations/update.
        """
        request: Any = dict(changes)
        return await self._transport.call(
            "billing_portal.configurations.update",
            self._v1.billing_portal.configurations.update_async(configuration_id, request),
        )
