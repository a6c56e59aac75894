"""The signing secrets of the configuration, to which the set-up adds those of new endpoints."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Protocol

from pydantic import SecretStr

from ..errors import InvalidRequest, SetupError
from ..settings import variable
from ..settings_checks import MAX_SIGNING_SECRETS, prefix_check
from ..stripe_api.client import StripeClient
from .event_destination import list_visible_destinations
from .steps import Action, Save, Step
from .webhook_endpoints import list_endpoints

SECRET_VARIABLE = variable("stripe_webhook_secrets")
WEBHOOKS_PAGE = "https://dashboard.stripe.com/webhooks"


class SecretOwner(Protocol):
    """A webhook endpoint or an event destination."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def secret(self) -> SecretStr | None:
        """Its signing secret. Stripe returns it at the creation only."""

    def has_secret(self, secret: SecretStr) -> bool | None:
        """Return whether a signing secret is its own, or None if it is not known."""


class SigningSecrets:
    """The signing secrets of one configuration, shared by the steps that add to them.

    Args:
        text: The present value of the variable: secrets, with commas between them.

    Raises:
        SetupError: One of them is not valid, so that the service would not start with it.
    """

    def __init__(self, text: str) -> None:
        self._values = [one.strip() for one in text.split(",") if one.strip()]
        try:
            prefix_check("whsec_")(tuple(self._values))
        except ValueError as error:
            raise SetupError(f"{SECRET_VARIABLE}: {error}. Correct it, or unset it.") from None

    def __iter__(self) -> Iterator[SecretStr]:
        """Yield the secrets."""
        return map(SecretStr, self._values)

    def __bool__(self) -> bool:
        """Return whether there is any secret."""
        return bool(self._values)

    def check_room(self) -> None:
        """Check that a secret can be added.

        Raises:
            SetupError: There are as many as there may be.
        """
        if len(self._values) >= MAX_SIGNING_SECRETS:
            raise SetupError(
                f"{SECRET_VARIABLE} has {len(self._values)} secrets, and {MAX_SIGNING_SECRETS} are "
                f"the maximum. Remove those of endpoints that no longer exist: {WEBHOOKS_PAGE}."
            )

    async def keep(
        self, owner: SecretOwner, save: Save, *, record: Callable[[SecretStr], Awaitable[object]]
    ) -> None:
        """Add the secret of a new endpoint or destination, save all secrets, and record its digest.

        Stripe never shows the secret again. If it is not saved, the owner has no digest, and the
        next set-up replaces it. It is not deleted here: a concurrent run may have created it, or
        may have saved its secret in another file.

        Args:
            owner: The endpoint or destination.
            save: Stores the variable.
            record: Stores the digest of the secret at Stripe.

        Raises:
            InvalidRequest: Stripe's answer has no secret.
        """
        if owner.secret is None:
            raise InvalidRequest(f"the answer has no signing secret of {owner.id}")
        values = [owner.secret.get_secret_value(), *self._values]
        save({SECRET_VARIABLE: ",".join(values)})
        self._values = values
        await record(owner.secret)

    async def missing_steps(
        self, client: StripeClient, owner: SecretOwner, *, instead: str
    ) -> list[Step]:
        """Return a step by hand if the secret of an endpoint or destination is not there.

        Args:
            client: The client of Stripe's API.
            owner: The endpoint or destination.
            instead: What to do instead of copying it.
        """
        known = list(map(owner.has_secret, self))
        if True in known or (None in known and await self._has_unknown(client)):
            return []
        return [
            Step(
                "signing secret",
                Action.BY_HAND,
                f"that of {owner.id} is missing; Stripe's API shows it at the creation only",
                by_hand=f"Copy it from {WEBHOOKS_PAGE} → {owner.id} → Signing secret to "
                f"{SECRET_VARIABLE}. {instead}",
            )
        ]

    async def _has_unknown(self, client: StripeClient) -> bool:
        """Return whether a secret belongs to no endpoint or destination with a digest.

        It may be that of an endpoint which was created by hand, without a digest.
        """
        owners: list[SecretOwner] = [
            *await list_endpoints(client),
            *await list_visible_destinations(client),
        ]
        return not all(any(owner.has_secret(one) for owner in owners) for one in self)
