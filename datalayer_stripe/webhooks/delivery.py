"""Receive deliveries: verify, parse, admit, process, and answer before the deadline.

A delivery goes one way: this module verifies and admits it, `processor` runs its plugins in their
order, `runner` runs one plugin and commits, and the outcome is the answer.
"""

import asyncio
import logging
from collections.abc import Sequence

from pydantic import SecretStr

from ..clock import Clock
from ..errors import DeliveryFailed, InvalidRequest, InvalidSignature, Overloaded
from ..events import Event, parse, verify
from ..logs import log_context
from .observers import Observers
from .outcome import Outcome
from .processor import EventProcessor
from .signature_monitor import SignatureMonitor

logger = logging.getLogger(__name__)

# Stripe gives up on an answer after some 20 s. Ours must be sent before, whatever hangs.
ANSWER_DEADLINE_SECONDS = 15.0


class Deliveries:
    """Receives the deliveries to one webhook endpoint, which has one mode.

    Args:
        processor: What runs the plugins.
        clock: Tells the time that signatures are compared with.
        observers: Called with each outcome.
        secrets: The endpoint's signing secrets; any of them may have signed.
        livemode: The mode of the secret key. Events of the other mode are refused.
    """

    def __init__(
        self,
        processor: EventProcessor,
        clock: Clock,
        observers: Observers,
        *,
        secrets: Sequence[SecretStr],
        livemode: bool,
    ) -> None:
        self._processor = processor
        self._clock = clock
        self._observers = observers
        self._secrets = tuple(secrets)
        self.livemode = livemode
        self.signatures = SignatureMonitor()
        self._in_flight: set[asyncio.Task[Outcome]] = set()

    async def receive(self, body: bytes, signature: str | None) -> tuple[Event, Outcome]:
        """Process one delivery. Its effects are durable when this returns.

        Args:
            body: The raw body of the request.
            signature: The `Stripe-Signature` header.

        Returns:
            The event, and how its delivery ended.

        Raises:
            InvalidSignature: The body is not signed by one of the secrets.
            InvalidRequest: The body is no event, or an event of the other mode.
            DeliveryFailed: A plugin has failed or is too late; Stripe must deliver again.
            Overloaded: Too many deliveries are in flight; Stripe must deliver again.
            StoreUnavailable: The database does not answer; Stripe must deliver again.
        """
        self._verify(body, signature)
        event = parse(body)
        with log_context(event_id=event.id, account_uid=event.account_uid):
            self._check_mode(event)
            outcome = await self._process_by_deadline(event, "delivery")
        if outcome is Outcome.FAILED:
            raise DeliveryFailed
        return event, outcome

    async def process_undelivered(self, event: Event) -> Outcome:
        """Process an event that Stripe lists and has not delivered yet, as its delivery would be.

        Raises:
            DeliveryFailed: It takes too long, and goes on in the background.
            Overloaded: Too many deliveries are in flight.
            StoreUnavailable: The database does not answer.
        """
        with log_context(event_id=event.id, account_uid=event.account_uid):
            return await self._process_by_deadline(event, "undelivered event")

    async def idle(self) -> None:
        """Wait until no delivery is in flight, including those past their deadline."""
        while self._in_flight:
            await asyncio.wait(self._in_flight)

    def _verify(self, body: bytes, signature: str | None) -> None:
        try:
            verify(body, signature, self._secrets, self._clock().timestamp())
        except InvalidSignature:
            self.signatures.count_refused()
            raise
        self.signatures.count_verified()

    def _check_mode(self, event: Event) -> None:
        if event.livemode is not self.livemode:
            mode = "live" if self.livemode else "test"
            logger.error("event of the other mode received: this service has %s keys", mode)
            # Not 200: once the endpoint is corrected, Stripe's next attempt must still come.
            raise InvalidRequest(f"This endpoint takes events of {mode} mode only.")

    async def _process_by_deadline(self, event: Event, label: str) -> Outcome:
        """Process the event, and return or raise before the deadline.

        What is late goes on in the background and keeps its slot. Either way one line of the log
        says how it ended; `label` is that line's message.
        """
        task = asyncio.create_task(self._admit(event))
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)
        done, _ = await asyncio.wait({task}, timeout=ANSWER_DEADLINE_SECONDS)
        if not done:
            task.add_done_callback(lambda late: self._end_late(event, label, late))
            raise DeliveryFailed("The event is still being processed.")
        outcome = task.result()
        self._end(event, label, outcome)
        return outcome

    async def _admit(self, event: Event) -> Outcome:
        owner = event.account_uid or event.customer_id or event.object_id or event.id
        try:
            with self._processor.admission_for(event).admit(owner, event.type) as slot:
                return await self._processor.process(event, slot)
        except Overloaded:
            self._processor.count_overloaded()
            raise

    def _end(self, event: Event, label: str, outcome: Outcome, *, late: bool = False) -> None:
        fields = {"type": event.type, "outcome": outcome.value, **({"late": True} if late else {})}
        logger.info(label, extra=fields)
        self._observers.delivery_ended(event, outcome)

    def _end_late(self, event: Event, label: str, task: asyncio.Task[Outcome]) -> None:
        if task.cancelled():
            return
        if error := task.exception():
            fields = {"type": event.type, "cause": type(error).__name__}
            logger.warning("%s failed after its deadline", label, extra=fields)
        else:
            self._end(event, label, task.result(), late=True)
