"""Process thin events: read the event that a thin event stands for, and run its plugins."""

import logging
from contextlib import suppress

from ..errors import (
    DeliveryFailed,
    InvalidRequest,
    RateLimited,
    StripeObjectMissing,
    StripePermissionMissing,
    StripeUnavailable,
)
from ..events import Event
from ..limits import Slot
from ..logs import bind_log_context
from ..plugin_api.registry import Registry
from ..store import Store
from ..stripe_api.account_setup import AccountSetupCalls
from ..stripe_api.client import StripeClient
from ..stripe_api.rate_limit import DELIVERY_WAIT_SECONDS, own_calls
from ..stripe_api.retrievable import is_retrievable
from ..stripe_api.transport import StripeDict
from .outcome import Outcome
from .processor import EventProcessor
from .stripe_events import snapshot_id_of
from .thin_events import ThinEvent

logger = logging.getLogger(__name__)

_DELETED = ".deleted"  # the end of the type of an event about a deleted object

NOT_READ = "The event that this thin event stands for could not be read from Stripe."


class ThinDeliveries:
    """Processes thin events with the plugins of their snapshot types.

    Stripe has a snapshot event for the thin events of its API v1. A thin event is processed as this
    snapshot event, with its id. So an account that receives both has one mark for each plugin.
    """

    def __init__(
        self, store: Store, stripe: StripeClient, registry: Registry, processor: EventProcessor
    ) -> None:
        self._store = store
        self._stripe = stripe
        self._registry = registry
        self._processor = processor
        self._account_id: str | None = None

    async def process(self, thin: ThinEvent, slot: Slot) -> tuple[Event, Outcome]:
        """Process a verified thin event. Stripe is asked only if a plugin has to run.

        Args:
            thin: The thin event.
            slot: The slot of its delivery.

        Returns:
            The event that was processed, and the outcome. If no plugin had to run, the event has
            only the id and the type of its object.

        Raises:
            InvalidRequest: The object is needed, and is of a type that cannot be read.
            DeliveryFailed: Stripe does not answer or has no such object, or there are too many
                calls.
            StoreUnavailable: The database does not answer.
            Overloaded: There is no slot for the plugins that move no money.
        """
        reference = thin.reference
        if not self._registry.plugins_for(reference.type):
            return reference, self._processor.count("other", Outcome.IGNORED)
        record = await self._store.events.get(reference.id)
        if record is not None and self._processor.is_handled(record):
            return reference, self._processor.count(reference.type, Outcome.DUPLICATE)
        if await self._is_of_another_account(thin):
            logger.info("thin event of another account ignored")
            return reference, self._processor.count("other", Outcome.IGNORED)
        # The event is stored while a plugin has failed or rejected it.
        event = record.event if record is not None else None
        try:
            event = event or await self._read(thin)
        except (RateLimited, StripeUnavailable, StripeObjectMissing) as error:
            self._processor.count(reference.type, Outcome.FAILED)
            raise DeliveryFailed(NOT_READ) from error
        bind_log_context(event_id=event.id, account_uid=event.account_uid)
        return event, await self._processor.process(event, slot)

    async def _is_of_another_account(self, thin: ThinEvent) -> bool:
        """Return whether the event is from another account than that of the key.

        An organization's destination names the account of each event:
        https://docs.stripe.com/context. The account of the key is read once. If a restricted key
        may not read it, the event counts as one of this account: Stripe does not have the objects
        of another account.

        Raises:
            DeliveryFailed: Stripe does not answer, or there are too many calls.
        """
        if not thin.context:
            return False
        if self._account_id is None:
            calls = AccountSetupCalls(self._stripe.transport)
            try:
                with own_calls(DELIVERY_WAIT_SECONDS):
                    self._account_id = (await calls.retrieve_account())["id"]
            except StripePermissionMissing:
                return False
            except (RateLimited, StripeUnavailable) as error:
                self._processor.count(thin.reference.type, Outcome.FAILED)
                raise DeliveryFailed(NOT_READ) from error
        return thin.context.rpartition("/")[2] != self._account_id

    async def _read(self, thin: ThinEvent) -> Event:
        """Return the snapshot event, or the thin event with the present object, from Stripe.

        If Stripe no longer has the snapshot event, or a restricted key may not read it, the object
        is read, and the event keeps the id of the snapshot event. If there never was one, the event
        has the id of the thin event.
        """
        with own_calls(DELIVERY_WAIT_SECONDS):
            snapshot_id = thin.snapshot_event or await snapshot_id_of(self._stripe, thin.id)
            if snapshot_id is not None:
                # The id is known: the object does, if the key may not read events.
                with suppress(StripeObjectMissing, StripePermissionMissing):
                    return Event.model_validate(await self._stripe.retrieve_event(snapshot_id))
            return thin.with_object(await self._object(thin), event_id=snapshot_id or thin.id)

    async def _object(self, thin: ThinEvent) -> StripeDict:
        """Return the present object; of one that was deleted, its id and `deleted`.

        The URL in the event is compared, and never requested.

        Raises:
            InvalidRequest: The object cannot be read.
            StripeObjectMissing: Stripe does not have the object in the account of the key.
        """
        related = thin.related_object
        if related is None or not is_retrievable(related.type, related.id, related.url):
            raise InvalidRequest("The object of the thin event cannot be read.")
        try:
            return await self._stripe.retrieve_object(related.type, related.id)
        except StripeObjectMissing:
            is_ours = not thin.context or self._account_id is not None
            if not (is_ours and thin.type.endswith(_DELETED)):
                raise
            return {"id": related.id, "object": related.type, "deleted": True}
