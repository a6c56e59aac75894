"""Parse thin events: notifications of an event that do not contain its object. No I/O.

A thin event has the type of a snapshot event with the prefix `v1.`. It names its object and, if
there is one, the snapshot event about the same change:
https://docs.stripe.com/webhooks/migrate-snapshot-to-thin-events
"""

from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from ..clock import MAX_EPOCH_SECONDS
from ..errors import InvalidRequest
from ..events import THIN_PREFIX, Event, parse
from ..stripe_api.transport import STRIPE_VERSION

ObjectName = Literal["v2.core.event"]
"""The field `object` of a thin event. That of a snapshot event is `event`."""


def _refuse_part_of_a_path(value: str) -> str:
    """Refuse an id that means a folder in the path of a request to Stripe."""
    if value in {".", ".."}:
        raise ValueError("is no id")
    return value


Text = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[!-~]+$")]
Id = Annotated[Text, AfterValidator(_refuse_part_of_a_path)]
Type = Annotated[Text, StringConstraints(pattern=r"[^.]$")]


class RelatedObject(BaseModel):
    """Reference to the object that a thin event is about."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: Id
    type: Type
    url: Text


class ThinEvent(BaseModel):
    """A thin event: https://docs.stripe.com/api/v2/core/events/object."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    object: ObjectName
    id: Id
    type: Type
    created: AwareDatetime = Field(
        ge=datetime.fromtimestamp(0, UTC), le=datetime.fromtimestamp(MAX_EPOCH_SECONDS, UTC)
    )
    livemode: bool
    context: str | None = Field(default=None, max_length=1000)
    """The account that the event is from, if it may be another one than that of the key."""
    related_object: RelatedObject | None = None
    snapshot_event: Id | None = None
    """The id of the snapshot event about the same change, if the thin event names it."""

    @cached_property
    def reference(self) -> Event:
        """The event with only the id and the type of its object."""
        related = self.related_object
        data = {"id": related.id, "object": related.type} if related else {}
        return self.with_object(data, event_id=self.snapshot_event or self.id)

    def with_object(self, data: dict[str, Any], *, event_id: str) -> Event:
        """Return the event of the snapshot type with an object.

        Args:
            data: The object, in the shape of the API version that the service uses.
            event_id: The id of the event. All events of this id share their marks.
        """
        return Event.model_validate(
            {
                "id": event_id,
                "type": self.type.removeprefix(THIN_PREFIX),
                "created": int(self.created.timestamp()),
                "livemode": self.livemode,
                "api_version": STRIPE_VERSION,
                "data": {"object": data},
            }
        )


class _Kind(BaseModel):
    object: ObjectName


def parse_delivery(body: bytes) -> Event | ThinEvent:
    """Return the snapshot event or the thin event in a verified body.

    Raises:
        InvalidRequest: The body is neither. The message names the field that is wrong.
    """
    try:
        return parse(body)
    except InvalidRequest:
        if not _is_thin(body):
            raise
    try:
        return ThinEvent.model_validate_json(body)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
        raise InvalidRequest(f"The body is not a thin Stripe event: {where}.") from None


def _is_thin(body: bytes) -> bool:
    try:
        _Kind.model_validate_json(body)
    except ValidationError:
        return False
    return True
