"""What webhook endpoints and event destinations have in common.

Both have the metadata `managed_by: datalayer-stripe` if this service has created them, and the
digest of their signing secret.
"""

import hashlib
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from ..stripe_api.transport import StripeDict
from .creation import create_once

MANAGED_BY = "managed_by"
MANAGER = "datalayer-stripe"
"""The key and the value in the metadata of what this service has created at Stripe."""

SECRET_DIGEST = "secret_sha256"  # noqa: S105 (the name of a key, not a secret)
"""The key of the metadata with the digest of the signing secret, see :func:`secret_digest`."""

NO_DIGEST = "none"
"""The digest of a new endpoint, which belongs to no secret, until that of its own is recorded.

So an endpoint whose secret was lost differs from one that was created by hand, without a digest.
"""

DESCRIPTION = "Credits, by datalayer-stripe"


def secret_digest(secret: SecretStr) -> str:
    """Return a digest that identifies a signing secret and does not reveal it.

    The metadata of an endpoint contains the digest of its secret, because Stripe does not return
    the secret itself again. A secret has 32 random characters, so that it cannot be guessed.
    """
    return hashlib.sha256(secret.get_secret_value().encode()).hexdigest()[:32]


class BaseEndpoint(BaseModel):
    """A webhook endpoint, or an event destination."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    status: str
    """`enabled` or `disabled`."""
    enabled_events: tuple[str, ...]
    metadata: dict[str, str] = Field(default_factory=dict)

    @field_validator("metadata", mode="before")
    @classmethod
    def _accept_null(cls, value: Any) -> Any:
        return value or {}

    @property
    def is_enabled(self) -> bool:
        """Whether Stripe sends it events."""
        return self.status == "enabled"

    @property
    def is_managed(self) -> bool:
        """Whether this service, or another installation of it, has created it."""
        return self.metadata.get(MANAGED_BY) == MANAGER

    @property
    def is_unrecorded(self) -> bool:
        """Whether nobody has its signing secret: its creation has ended before it was saved."""
        return self.metadata.get(SECRET_DIGEST) == NO_DIGEST

    def has_secret(self, secret: SecretStr) -> bool | None:
        """Return whether a signing secret is its own, or None if it is not known."""
        digest = self.metadata.get(SECRET_DIGEST)
        return None if digest is None else digest == secret_digest(secret)


class HasUrl(Protocol):
    """A webhook endpoint, or an event destination."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def url(self) -> str | None:
        """The URL that Stripe sends the events to."""

    @property
    def is_managed(self) -> bool:
        """Whether this service, or another installation of it, has created it."""


async def create_endpoint(
    own_params: Mapping[str, Any],
    *,
    create: Callable[..., Awaitable[StripeDict]],
    list_existing: Callable[[], Awaitable[Sequence[HasUrl]]],
    lost: BaseEndpoint | None,
) -> StripeDict:
    """Create an endpoint or a destination. Concurrent calls create only one.

    Args:
        own_params: The parameters that only one of the two kinds has, and `url`.
        create: Creates it. Gets all parameters, and `idempotency_key`.
        list_existing: Returns all endpoints or all destinations of the account.
        lost: The one that the new one replaces, or None.
    """
    params = {
        **own_params,
        "description": DESCRIPTION,
        "metadata": {MANAGED_BY: MANAGER, SECRET_DIGEST: NO_DIGEST},
    }

    async def create_with_key(key: str | None) -> StripeDict:
        return await create(**params, idempotency_key=key)

    async def is_current(created: StripeDict) -> bool:
        present = {one.id for one in await list_existing() if one.url == params["url"]}
        return created["id"] in present and (lost is None or created["id"] != lost.id)

    return await create_once(create_with_key, params, is_current=is_current)


@dataclass(frozen=True)
class BasePlan:
    """What to do so that Stripe sends the service exactly the events that its plugins want.

    Attributes:
        url: The URL of the service's webhook.
        events: The event types, sorted.
    """

    url: str
    events: tuple[str, ...]

    @property
    @abstractmethod
    def existing(self) -> BaseEndpoint | None:
        """The existing endpoint or destination, or None."""

    @property
    def added(self) -> tuple[str, ...]:
        """The event types that it is not sent yet."""
        return tuple(sorted(set(self.events) - self._enabled))

    @property
    def removed(self) -> tuple[str, ...]:
        """The event types that it is sent and no plugin handles."""
        return tuple(sorted(self._enabled - set(self.events)))

    @property
    def enables(self) -> bool:
        """Whether one that is disabled is enabled."""
        return self.existing is not None and not self.existing.is_enabled

    @property
    def changes(self) -> Mapping[str, Any]:
        """The parameters of the update; empty if there is none."""
        if self.existing is None:
            return {}
        changes: dict[str, Any] = {}
        if self.added or self.removed:
            changes["enabled_events"] = list(self.events)
        if not self.existing.is_managed:
            changes["metadata"] = {MANAGED_BY: MANAGER}
        return changes

    @property
    def is_unchanged(self) -> bool:
        """Whether there is nothing to do."""
        return self.existing is not None and not self.changes and not self.enables

    @abstractmethod
    def lines(self) -> list[str]:
        """Return a line for each change, for the operator."""

    def change_lines(self) -> list[str]:
        """Return a line for each kind of change of the existing one, for the operator."""
        lines = [*_type_lines("add", self.added), *_type_lines("remove", self.removed)]
        if self.enables:
            lines.append("enable it")
        if "metadata" in self.changes:
            lines.append(f"mark it with the metadata {MANAGED_BY}: {MANAGER}")
        return lines

    @property
    def _enabled(self) -> frozenset[str]:
        return frozenset(self.existing.enabled_events if self.existing else ())


def _type_lines(verb: str, types: tuple[str, ...]) -> list[str]:
    """Return the line that names the event types that are added or removed; none without one."""
    if not types:
        return []
    if len(types) == 1:
        return [f"{verb} the event type {types[0]}"]
    return [f"{verb} {len(types)} event types: {', '.join(types)}"]
