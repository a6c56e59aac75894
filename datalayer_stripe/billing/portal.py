"""Stripe's billing portal, where people change cards and see invoices."""

import uuid

from ..errors import InvalidRequest
from ..settings import variable
from ..stripe_api.client import StripeClient
from ..stripe_api.objects import StripeData
from .configuration_faults import ConfigurationFaults
from .customers import Customers

_VARIABLE = variable("stripe_cust_portal_id")


class Portal:
    """`url` is the portal's public sign-in page."""

    def __init__(
        self,
        stripe: StripeClient,
        customers: Customers,
        *,
        configuration_id: str,
        url: str,
        faults: ConfigurationFaults,
    ) -> None:
        self._stripe = stripe
        self._customers = customers
        self._configuration_id = configuration_id
        self.url = url
        self._faults = faults

    async def open(self, account_uid: str, return_url: str) -> str:
        """The address of a portal session for the account, else of the sign-in page."""

        async def open_for(customer_id: str) -> StripeData:
            return await self._stripe.create_portal_session(
                customer_id=customer_id,
                configuration_id=self._configuration_id,
                return_url=return_url,
                # Each is short-lived and for one visit: nothing is to be had again.
                idempotency_key=f"portal-{uuid.uuid4().hex}",
            )

        try:
            portal_session = await self._customers.using_known(account_uid, open_for)
        except InvalidRequest:
            self._faults.report(
                _VARIABLE,
                f"Stripe refuses to open the portal with {self._configuration_id}: "
                "people are led to the portal's sign-in page instead",
            )
            return self.url
        if portal_session is None:
            return self.url
        self._faults.clear(_VARIABLE)
        return str(portal_session["url"])
