"""Calls that find out what the keys may do, and change nothing.

Stripe checks the permissions of a restricted key before it looks for the object of a request. So a
request to change an object that does not exist shows whether the key may change such objects:
https://docs.stripe.com/keys/restricted-api-keys.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import stripe

from ..clock import Clock
from .permissions import named_permission
from .transport import StripeTransport

# No object at Stripe has such an id.
_NOBODY = "datalayerStripeDoctor"

_Request = Callable[[Any], Awaitable[Any]]

_FIRST: Any = {"limit": 1}

PERMISSION_PROBES: Mapping[str, tuple[str, _Request]] = {
    "plan_read": ("prices.list", lambda v1: v1.prices.list_async(_FIRST)),
    "product_read": ("products.list", lambda v1: v1.products.list_async(_FIRST)),
    "customer_write": ("customers.update", lambda v1: v1.customers.update_async(f"cus_{_NOBODY}")),
    "payment_intent_write": (
        "payment_intents.cancel",
        lambda v1: v1.payment_intents.cancel_async(f"pi_{_NOBODY}"),
    ),
    "setup_intent_write": (
        "setup_intents.cancel",
        lambda v1: v1.setup_intents.cancel_async(f"seti_{_NOBODY}"),
    ),
    "subscription_write": (
        "subscriptions.update",
        lambda v1: v1.subscriptions.update_async(f"sub_{_NOBODY}"),
    ),
    "invoice_write": ("invoices.void", lambda v1: v1.invoices.void_invoice_async(f"in_{_NOBODY}")),
    "customer_portal_write": (
        "billing_portal.sessions.create",
        lambda v1: v1.billing_portal.sessions.create_async({"customer": f"cus_{_NOBODY}"}),
    ),
    "charge_read": ("refunds.list", lambda v1: v1.refunds.list_async(_FIRST)),
    "dispute_read": ("disputes.list", lambda v1: v1.disputes.list_async(_FIRST)),
    "event_read": ("events.list", lambda v1: v1.events.list_async(_FIRST)),
}
"""For each of :func:`.service_permissions`, a call that needs it: its name and the request."""


class AccountProbes:
    """Calls about the keys and the account.

    Each method raises a :class:`.RequestError` if Stripe does not answer.

    Args:
        transport: Sends the requests.
    """

    def __init__(self, transport: StripeTransport) -> None:
        self._transport = transport
        self._v1 = transport.sdk.v1

    async def server_time(self, clock: Clock) -> tuple[datetime, datetime]:
        """Return Stripe's time, to the second, and this machine's at the same moment.

        Args:
            clock: Returns this machine's time.

        Raises:
            StripeKeyRefused: Stripe refuses the key.
        """
        times: list[datetime] = []

        async def request() -> stripe.StripeObject:
            before = clock()
            answer = await self._v1.prices.list_async(_FIRST)
            assert answer.last_response is not None  # noqa: S101 (it is an answer)
            times.append(parsedate_to_datetime(answer.last_response.headers["date"]))
            times.append(before + (clock() - before) / 2)
            return answer

        await self._transport.call("prices.list", request())
        theirs, ours = times
        return theirs, ours

    async def lacks_permission(self, permission: str) -> bool:
        """Return whether the secret key lacks a permission.

        Args:
            permission: A key of :data:`PERMISSION_PROBES`.

        Raises:
            StripeKeyRefused: Stripe refuses the key, whatever it may do.
        """
        operation, send = PERMISSION_PROBES[permission]
        refused: list[str | None] = []

        async def request() -> stripe.StripeObject:
            try:
                await send(self._v1)
            except stripe.PermissionError as error:
                refused.append(named_permission(error))
            except stripe.InvalidRequestError:
                pass  # The key may do it, but there is no such object.
            return stripe.StripeObject()

        await self._transport.call(operation, request())
        return bool(refused)

    async def accepts_publishable_key(self, key: str) -> bool | None:
        """Return whether a publishable key belongs to the account of the secret key.

        The key reads the account's latest PaymentIntent, as a browser does.

        Args:
            key: The publishable key.

        Returns:
            None if Stripe accepts the key, and the account has no PaymentIntent yet.
        """
        latest = await self._transport.call(
            "payment_intents.list", self._v1.payment_intents.list_async(_FIRST)
        )
        intent = next(iter(latest["data"]), None)
        intent_id = intent["id"] if intent else f"pi_{_NOBODY}"
        client_secret = intent["client_secret"] if intent else f"{intent_id}_secret_{_NOBODY}"
        results: list[bool | None] = []

        async def request() -> stripe.StripeObject:
            try:
                await self._v1.payment_intents.retrieve_async(
                    intent_id, {"client_secret": client_secret}, {"api_key": key}
                )
                results.append(True)
            except (stripe.AuthenticationError, stripe.PermissionError):
                results.append(False)
            except stripe.InvalidRequestError:
                results.append(None if intent is None else False)
            return stripe.StripeObject()

        await self._transport.call("payment_intents.retrieve", request())
        return results[0]
