"""The service beside a server that has started: opened when it can be, closed with the server."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from ..configuration import Configuration
from ..errors import NotConfigured, StartError, StoreError, Unavailable
from ..handlers.site import Site
from ..reconciliation.periodic import reconciling
from ..service import Service, open_service

logger = logging.getLogger(__name__)

# Who stops a notebook server waits for it.
DRAIN_SECONDS = 5.0

_INITIAL_BACKOFF_SECONDS = 1.0
_MAX_BACKOFF_SECONDS = 60.0


class Running:
    """Opens the service in the background, and tries again as long as the database is away.

    Nothing that goes wrong here reaches the server: the site's routes answer 503 meanwhile.
    """

    def __init__(self, site: Site, configuration: Configuration) -> None:
        self._site = site
        self._configuration = configuration
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in the event loop that the service is to run in."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Let what runs finish, for a while, and close the service."""
        self._site.request_tracker.drain()
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._site.request_tracker.idle()
        except TimeoutError:
            logger.warning("Requests were still running after %g s", DRAIN_SECONDS)
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        try:
            async with self._opened() as service:
                await self._serve(service)
        except StartError as error:
            logger.error("%s", error)
            self._site.shut(NotConfigured)
        except Exception:
            # Where it reached stop(), the server would leave its kernels running.
            logger.exception("The service has ended, and runs again when this server is restarted")
            self._site.shut(Unavailable)

    async def _serve(self, service: Service) -> None:
        """Until it is cancelled. Raises PluginError for a plugin that cannot start."""
        await service.start()
        self._site.open(service)
        logger.info(
            "Credits can be bought at %s",
            self._site.checkout_route,
            extra={"mode": "live" if service.settings.livemode else "test"},
        )
        try:
            async with reconciling(service):
                await asyncio.get_running_loop().create_future()
        finally:
            self._site.shut(Unavailable)

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Service]:
        """Raises StartError when trying again is of no use."""
        service = await self._connected()
        try:
            yield service
        finally:
            try:
                await service.close()
            except Exception:
                # The server has kernels to end after us.
                logger.exception("The service did not close cleanly")

    async def _connected(self) -> Service:
        configured = self._configuration
        said, pause = "", _INITIAL_BACKOFF_SECONDS
        while True:
            try:
                return await open_service(
                    configured.settings,
                    registry=configured.registry,
                    plugin_settings=configured.plugin_settings,
                    metrics=self._site.metrics,
                )
            except StoreError as error:
                if str(error) != said:
                    said = str(error)
                    logger.warning("%s It is tried again until it can be used.", said)
            except StartError:
                raise
            except Exception:
                logger.exception("The service could not be opened, which is tried again")
            await asyncio.sleep(pause)
            pause = min(pause * 2, _MAX_BACKOFF_SECONDS)
