"""Open the service in the background of a Jupyter Server, and close it with the server."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from ..composition import open_service
from ..configuration import Configuration
from ..errors import NotConfigured, StartError, StoreError, Unavailable
from ..handlers.app_state import AppState
from ..service import Service

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 5.0
"""Time that requests in progress have to finish. It delays the shutdown of the Jupyter Server."""

INITIAL_BACKOFF_SECONDS = 1.0
MAX_BACKOFF_SECONDS = 60.0


class BackgroundService:
    """Service that opens in the background, and retries while the database is unavailable.

    No error reaches the Jupyter Server. While there is no service, the routes answer 503.

    Args:
        app_state: The state of the handlers, which gets the service.
        configuration: The settings and plugins of the service.
    """

    def __init__(self, app_state: AppState, configuration: Configuration) -> None:
        self._app_state = app_state
        self._configuration = configuration
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    def start(self) -> None:
        """Start opening the service, in the running event loop."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Wait for the requests in progress, up to `DRAIN_SECONDS`, and close the service."""
        self._app_state.request_tracker.drain()
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._app_state.request_tracker.wait_until_idle()
        except TimeoutError:
            logger.warning("Requests were still running after %g s", DRAIN_SECONDS)
        self._stopping.set()
        if self._task:
            # Only once: a second cancellation would cut the service's close. The event ends the
            # task if PyMongo loses this one (see tasks.cancel_and_wait).
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        try:
            async with self._opened() as service:
                await self._serve(service)
        except StartError as error:
            logger.error("%s", error)
            self._app_state.set_unavailable(NotConfigured)
        except Exception:
            # An exception that reached stop() would keep the server from ending its kernels.
            logger.exception(
                "The service stopped because of an unexpected error. Restart this server to "
                "start it again."
            )
            self._app_state.set_unavailable(Unavailable)

    async def _serve(self, service: Service) -> None:
        """Serve requests until the server stops.

        Raises:
            PluginError: A plugin cannot start.
        """
        await service.start()
        self._app_state.set_service(service)
        logger.info(
            "Credits can be bought at %s",
            self._app_state.checkout_route,
            extra={"mode": "live" if service.settings.livemode else "test"},
        )
        try:
            async with service.periodic_reconciliation().running():
                await self._stopping.wait()
        finally:
            self._app_state.set_unavailable(Unavailable)

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Service]:
        """Open the service, and close it at the end.

        Raises:
            StartError: A retry would not help.
        """
        service = await self._open_with_retries()
        try:
            yield service
        finally:
            try:
                await service.close()
            except Exception:
                # The server still has to end its kernels.
                logger.exception("The service did not close cleanly")

    async def _open_with_retries(self) -> Service:
        configuration = self._configuration
        last_message, backoff = "", INITIAL_BACKOFF_SECONDS
        while True:
            try:
                return await open_service(
                    configuration.settings,
                    registry=configuration.registry,
                    plugin_settings=configuration.plugin_settings,
                    metrics=self._app_state.metrics,
                )
            except StoreError as error:
                if str(error) != last_message:
                    last_message = str(error)
                    logger.warning("%s The server retries until the database works.", error)
            except StartError:
                raise
            except Exception:
                logger.exception("The service could not be opened. The server retries.")
            await self._pause(backoff)
            backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)

    async def _pause(self, seconds: float) -> None:
        """Wait before the next attempt to open the service.

        Raises:
            CancelledError: The server stops.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
                raise asyncio.CancelledError
