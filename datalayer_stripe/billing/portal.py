"""Open Stripe's billing portal, where people change their card and see their invoices."""

import uuid

from ..errors import InvalidRequest
from ..settings import variable
from ..stripe_api.client import StripeClient
from ..stripe_api.objects import StripeData
from .configuration_faults import ConfigurationFaults
from .customers import Customers

_VARIABLE = variable("stripe_cust_portal_id")


class Portal:
    """The billing portal.

    Args:
        stripe: The client of Stripe's API.
        customers: The accounts' customers at Stripe.
        configuration_id: The portal's configuration, `bpc_…`.
        url: The URL of the portal's public sign-in page.
        faults: Records that Stripe refuses the configuration.
    """

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
        """The URL of the portal's public sign-in page."""
        self._faults = faults

    async def open(self, account_uid: str, return_url: str) -> str:
        """Return the URL of a new portal session for the account.

        Args:
            account_uid: The account.
            return_url: The URL of the link that leaves the portal.

        Returns:
            The URL of the sign-in page if the account has no customer, or if Stripe refuses the
            portal's configuration.
        """

        async def create_session(customer_id: str) -> StripeData:
            return await self._stripe.create_portal_session(
                customer_id=customer_id,
                configuration_id=self._configuration_id,
                return_url=return_url,
                # Each visit has its own short-lived session, so the key is random.
                idempotency_key=f"portal-{uuid.uuid4().hex}",
            )

        try:
            session = await self._customers.run_with_existing_customer(account_uid, create_session)
        except InvalidRequest:
            self._faults.report(
                _VARIABLE,
                f"Stripe refuses to open the portal with {self._configuration_id}: "
                "clients get the portal's sign-in page instead",
            )
            return self.url
        if session is None:
            return self.url
        self._faults.clear(_VARIABLE)
        return str(session["url"])
