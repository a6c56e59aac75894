"""Receive deliveries: verify, parse, admit, process, and answer before the deadline.

A delivery goes one way: this module verifies and admits it, `processor` runs its plugins in their
order, `runner` runs one plugin and commits, and the outcome is the answer.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import SecretStr

from ..clock import Clock
from ..errors import DeliveryFailed, InvalidSignature, OtherMode, Overloaded
from ..events import Event, verify
from ..logs import bind_log_context, log_context
from ..tasks import retrieve_error
from .observers import Observers
from .outcome import Outcome
from .processor import EventProcessor
from .signature_monitor import SignatureMonitor
from .thin_deliveries import ThinDeliveries
from .thin_events import ThinEvent, parse_delivery

logger = logging.getLogger(__name__)

# Stripe gives up on an answer after some 20 s. Ours must be sent before, whatever hangs.
ANSWER_DEADLINE_SECONDS = 15.0

DELIVERY = "delivery"
"""Message of the line that the log has for each delivery."""

STILL_PROCESSING = "The event is still being processed."


class Deliveries:
    """Receives the deliveries to one webhook endpoint, which has one mode.

    Args:
        processor: What runs the plugins.
        thin_deliveries: Processes thin events.
        clock: Returns the present time, with which the times of signatures are compared.
        observers: Called with each outcome.
        secrets: The endpoint's signing secrets; any of them may have signed.
        livemode: The mode of the secret key. Events of the other mode are refused.
    """

    def __init__(
        self,
        processor: EventProcessor,
        thin_deliveries: ThinDeliveries,
        clock: Clock,
        observers: Observers,
        *,
        secrets: Sequence[SecretStr],
        livemode: bool,
    ) -> None:
        self._processor = processor
        self._thin_deliveries = thin_deliveries
        self._clock = clock
        self._observers = observers
        self._secrets = tuple(secrets)
        self.livemode = livemode
        self.signatures = SignatureMonitor()
        self._in_flight: set[asyncio.Task[Any]] = set()

    async def receive(
        self, body: bytes, signature: str | None, *, on_late: Callable[[], None] | None = None
    ) -> tuple[Event, Outcome]:
        """Process one delivery. Its effects are durable when this returns.

        It logs a line only if it ends after the deadline. Otherwise the caller does: this adds the
        event's fields and the outcome to the log context of the current task.

        Args:
            body: The raw body of the request.
            signature: The `Stripe-Signature` header.
            on_late: Called at the deadline of the answer if the delivery is still being processed;
                this method returns or raises later. Without it, this method raises at the
                deadline, which costs a task.

        Returns:
            The event, and how its delivery ended. For a thin event that no plugin has to run on,
            the event has only the id and the type of its object.

        Raises:
            InvalidSignature: The body is not signed by one of the secrets.
            InvalidRequest: The body is no event, or a thin event about an object that cannot be
                read.
            OtherMode: The event is of the other mode.
            DeliveryFailed: A plugin has failed or is too late, or the event of a thin event could
                not be read; Stripe must deliver again.
            Overloaded: Too many deliveries are in flight; Stripe must deliver again.
            StoreUnavailable: The database does not answer; Stripe must deliver again.
        """
        self._verify(body, signature)
        received = parse_delivery(body)
        if isinstance(received, Event):
            bind_log_context(
                event_id=received.id, account_uid=received.account_uid, type=received.type
            )
        else:
            reference = received.reference
            bind_log_context(thin_event_id=received.id, event_id=reference.id, type=reference.type)
        self._check_mode(livemode=received.livemode)
        if on_late is None:
            event, outcome = await self._process_by_deadline(received, DELIVERY)
        else:
            event, outcome = await self._process(received, DELIVERY, on_late)
        bind_log_context(outcome=outcome.value)
        if outcome is Outcome.FAILED:
            raise DeliveryFailed
        return event, outcome

    async def process_undelivered(self, event: Event) -> Outcome:
        """Process an event that Stripe lists and has not delivered yet, as its delivery would be.

        Raises:
            DeliveryFailed: It takes too long, and continues in the background.
            Overloaded: Too many deliveries are in flight.
            StoreUnavailable: The database does not answer.
        """
        with log_context(event_id=event.id, account_uid=event.account_uid):
            _, outcome = await self._process_by_deadline(event, "undelivered event")
            return outcome

    async def idle(self) -> None:
        """Wait until no delivery is in flight, including those past their deadline."""
        while self._in_flight:
            await asyncio.wait(self._in_flight)

    def _verify(self, body: bytes, signature: str | None) -> None:
        """Raise InvalidSignature unless Stripe has signed the body; count the result."""
        try:
            verify(body, signature, self._secrets, self._clock().timestamp())
        except InvalidSignature:
            self.signatures.count_refused()
            raise
        self.signatures.count_verified()

    def _check_mode(self, *, livemode: bool) -> None:
        """Raise OtherMode, and log it, if an event is not of the mode of the secret key."""
        if livemode is not self.livemode:
            mode = "live" if self.livemode else "test"
            logger.error("event of the other mode received: this service has %s keys", mode)
            # Not 200: once the endpoint is corrected, Stripe's next attempt must still come.
            raise OtherMode(f"This endpoint takes events of {mode} mode only.")

    async def _process_by_deadline(
        self, received: Event | ThinEvent, label: str
    ) -> tuple[Event, Outcome]:
        """Process the event in a task, and return or raise at the deadline at the latest.

        Raises:
            DeliveryFailed: The event is still being processed at the deadline.
        """
        late: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        processing = self._process(received, label, lambda: late.set_result(None))
        task = asyncio.create_task(processing)
        task.add_done_callback(retrieve_error)  # if it is late
        either: set[asyncio.Future[Any]] = {task, late}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise DeliveryFailed(STILL_PROCESSING)
        return task.result()

    async def _process(
        self, received: Event | ThinEvent, label: str, on_late: Callable[[], None]
    ) -> tuple[Event, Outcome]:
        """Process the event, and call `on_late` if it is still being processed at the deadline.

        What is late keeps its slot. One line of the log says how it ended, unless the line of the
        request does; `label` is that line's message.
        """
        is_late = False

        def call_on_late() -> None:
            nonlocal is_late
            is_late = True
            on_late()

        current = asyncio.current_task()
        assert current is not None  # noqa: S101 (the event loop runs coroutines in tasks)
        self._in_flight.add(current)
        deadline = asyncio.get_running_loop().call_later(ANSWER_DEADLINE_SECONDS, call_on_late)
        try:
            event, outcome = await self._admit(received)
        except Exception as error:
            if is_late:
                fields = {"type": received.type, "cause": type(error).__name__}
                logger.warning("%s failed after its deadline", label, extra=fields)
            raise
        finally:
            deadline.cancel()
            self._in_flight.discard(current)
        self._report_end(event, label, outcome, late=is_late)
        return event, outcome

    async def _admit(self, received: Event | ThinEvent) -> tuple[Event, Outcome]:
        event = received if isinstance(received, Event) else received.reference
        owner = event.account_uid or event.customer_id or event.object_id or event.id
        try:
            with self._processor.admission_for(event).admit(owner, event.type) as slot:
                if isinstance(received, ThinEvent):
                    return await self._thin_deliveries.process(received, slot)
                return event, await self._processor.process(event, slot)
        except Overloaded:
            self._processor.count("other", Outcome.OVERLOADED)
            raise

    def _report_end(self, event: Event, label: str, outcome: Outcome, *, late: bool) -> None:
        """Log the end, unless the line of the request does, and call the observers."""
        if late or label != DELIVERY:
            fields = {"type": event.type, "outcome": outcome.value}
            logger.info(label, extra=fields | ({"late": True} if late else {}))
        self._observers.delivery_ended(event, outcome)
