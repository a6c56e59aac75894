"""Addresses of objects in Stripe's dashboard."""

import re
from urllib.parse import quote

_DASHBOARD = "https://dashboard.stripe.com"

# The pages of the dashboard, by the prefix of the ids.
_PAGES = {
    "cus": "customers",
    "dp": "disputes",
    "du": "disputes",
    "evt": "events",
    "in": "invoices",
    "pi": "payments",
    "price": "prices",
    "prod": "products",
    "sub": "subscriptions",
}

_ID = re.compile(r"([a-z]+)_[A-Za-z0-9_]{1,250}")


class Dashboard:
    """Maker of links to Stripe's dashboard.

    Args:
        livemode: Whether the objects are those of the live mode.
        is_stripe: Whether the service calls Stripe. A local Stripe has no dashboard.
    """

    def __init__(self, *, livemode: bool, is_stripe: bool = True) -> None:
        self._base = _DASHBOARD if livemode else f"{_DASHBOARD}/test"
        self._is_stripe = is_stripe

    def url(self, object_id: str | None) -> str | None:
        """Return the address of an object.

        Args:
            object_id: The id of the object, such as `pi_…`. It may come from anywhere.

        Returns:
            None if there is no page for it.
        """
        found = _ID.fullmatch(object_id or "")
        if found is None or found[1] not in _PAGES or not self._is_stripe:
            return None
        return f"{self._base}/{_PAGES[found[1]]}/{quote(found[0], safe='')}"
