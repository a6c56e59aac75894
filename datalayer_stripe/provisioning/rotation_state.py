"""The state of a rotation of the signing secret: at Stripe and in the environment file only."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pydantic import SecretStr

from .endpoint_base import SECRET_DIGEST, secret_digest
from .event_destination import EventDestination
from .webhook_endpoints import WebhookEndpoint, endpoints_at

EVERY_TYPE = "*"
"""What an endpoint has instead of a list of types if Stripe sends it all events."""

REPLACED_DIGESTS = "replaces_secret_sha256"
"""The key of the successor's metadata with the digests of the secrets to remove in the end."""


@dataclass(frozen=True)
class RotationState:
    """The endpoints and secrets of one webhook.

    Attributes:
        successor: The endpoint that replaces others, and whose secret is in the file; or None.
        replaced: The endpoints that it replaces, or that a new successor will replace.
        unusable: Successors that Stripe sends nothing and whose secret is lost.
        others: The other endpoints of the account.
        destinations: The event destinations of the account, which have secrets of their own.
        secrets: The signing secrets in the file.
    """

    successor: WebhookEndpoint | None
    replaced: tuple[WebhookEndpoint, ...]
    unusable: tuple[WebhookEndpoint, ...]
    others: tuple[WebhookEndpoint, ...]
    destinations: tuple[EventDestination, ...]
    secrets: tuple[SecretStr, ...]

    @classmethod
    def of(
        cls,
        endpoints: Sequence[WebhookEndpoint],
        destinations: Sequence[EventDestination],
        url: str,
        secrets: Sequence[SecretStr],
    ) -> "RotationState":
        """Return the state of the webhook at a URL.

        Args:
            endpoints: All endpoints of the account.
            destinations: All event destinations of the account.
            url: The URL of the webhook.
            secrets: The signing secrets in the file.
        """
        successors = [one for one in endpoints if one.url == url and one.is_successor]
        usable = [one for one in successors if any(map(one.has_secret, secrets))]
        successor = usable[0] if usable else None
        return cls(
            successor,
            tuple(one for one in endpoints_at(endpoints, url) if one != successor),
            tuple(one for one in successors if one.is_idle and one != successor),
            tuple(one for one in endpoints if one.url != url),
            tuple(destinations),
            tuple(secrets),
        )

    def events(self, wanted: Collection[str]) -> tuple[str, ...]:
        """Return the event types of a successor: the wanted ones, and those of what it replaces.

        The service may have plugins that the machine of the operator lacks, so a rotation removes
        no type.

        Args:
            wanted: The event types that the plugins of this machine want.
        """
        replaced = {one for end in self.replaced if not end.is_idle for one in end.enabled_events}
        return (EVERY_TYPE,) if EVERY_TYPE in replaced else tuple(sorted({*wanted, *replaced}))

    @property
    def is_secret_lost(self) -> bool:
        """Whether no secret in the file is one of the endpoints that are replaced."""
        return all(
            end.has_secret(secret) is False for end in self.replaced for secret in self.secrets
        )

    @property
    def replaced_digests(self) -> list[str]:
        """The digests of the secrets of the endpoints that a new successor will replace.

        An endpoint that was created by hand has no digest. Its secret is the one in the file that
        belongs to no other endpoint or destination, if there is exactly one.
        """
        owners: tuple[WebhookEndpoint | EventDestination, ...] = (
            *self.replaced,
            *self.unusable,
            *self.others,
            *self.destinations,
        )
        found = [one for one in self.secrets if any(end.has_secret(one) for end in self.replaced)]
        unknown = [one for one in self.secrets if not any(end.has_secret(one) for end in owners)]
        by_hand = [one for one in self.replaced if SECRET_DIGEST not in one.metadata]
        if len(by_hand) == len(unknown) == 1:
            found += unknown
        return [secret_digest(one) for one in found]
