"""The signing secrets of the configuration, to which the set-up adds those of new endpoints."""

from collections.abc import Iterator
from typing import Protocol

from pydantic import SecretStr

from ..errors import InvalidRequest
from ..settings import variable
from .steps import Action, Save, Step

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
    """

    def __init__(self, text: str) -> None:
        self._values = [one for one in text.split(",") if one]

    def __iter__(self) -> Iterator[SecretStr]:
        """Yield the secrets."""
        return map(SecretStr, self._values)

    def __bool__(self) -> bool:
        """Return whether there is any secret."""
        return bool(self._values)

    def add_that_of(self, owner: SecretOwner, save: Save) -> SecretStr:
        """Add the secret of a new endpoint or destination, save all of them, and return it.

        Args:
            owner: The endpoint or destination.
            save: Stores the variable.

        Raises:
            InvalidRequest: Stripe's answer has no secret.
        """
        if owner.secret is None:
            raise InvalidRequest(f"the answer has no signing secret of {owner.id}")
        self._values.insert(0, owner.secret.get_secret_value())
        save({SECRET_VARIABLE: ",".join(self._values)})
        return owner.secret

    def missing_steps(self, owner: SecretOwner, *, instead: str) -> list[Step]:
        """Return a step by hand if the secret of an endpoint or destination is not there.

        Args:
            owner: The endpoint or destination.
            instead: What to do instead of copying it.
        """
        # Without a digest in the metadata, nobody can tell whose secret it is.
        if any(owner.has_secret(one) is not False for one in self):
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
