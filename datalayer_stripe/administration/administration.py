"""The parts of the administration of one service."""

import asyncio
from dataclasses import dataclass
from typing import Self

from ..clock import Clock
from ..settings import Settings
from ..store import Store
from ..stripe_api.dashboard import Dashboard
from ..webhooks.processor import EventProcessor
from .accounts import OperatorAccounts
from .events import OperatorEvents
from .findings import CachedFindings
from .overview import Overviews

MAX_CONCURRENT_READS = 2
"""Maximum number of answers that are read at a time. Each uses up to four connections of those that
deliveries need, and a read may take seconds."""


@dataclass(frozen=True)
class Administration:
    """What operators see and do.

    Attributes:
        overviews: The last days.
        events: The received events.
        accounts: The accounts.
        findings: What the checks of the set-up find.
        read_slots: Bounds the reads that run at a time in this process.
    """

    overviews: Overviews
    events: OperatorEvents
    accounts: OperatorAccounts
    findings: CachedFindings
    read_slots: asyncio.Semaphore

    @classmethod
    def of(cls, settings: Settings, store: Store, processor: EventProcessor, clock: Clock) -> Self:
        """Build the administration of a service.

        Args:
            settings: The settings.
            store: The database.
            processor: Processes the events that are replayed.
            clock: Returns the present time.
        """
        livemode = settings.livemode
        dashboard = Dashboard(livemode=livemode, is_stripe=settings.stripe_api_base is None)
        events = OperatorEvents(store, processor, dashboard)
        return cls(
            overviews=Overviews(store, clock, livemode=livemode),
            events=events,
            accounts=OperatorAccounts(store, events, dashboard),
            findings=CachedFindings(clock),
            read_slots=asyncio.Semaphore(MAX_CONCURRENT_READS),
        )
