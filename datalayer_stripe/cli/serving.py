"""Run the service in one process until it is asked to end."""

import gc
import logging
import socket
from collections.abc import Callable, Sequence

from ..app import Server, listen, make_app, shutdown_signal
from ..composition import open_service
from ..configuration import Configuration
from ..handlers.urls import WEBHOOK_PATH
from ..metrics import Metrics
from ..settings import Settings, variable
from ..store.connect import MEMORY_URL
from ..tracing import tracing
from .event_loop import fastest_loop_name

logger = logging.getLogger(__name__)

SHUTDOWN_GRACE_PERIOD = 20
"""Time for running requests to finish, in seconds.

Kubernetes kills a container 30 s after SIGTERM. Closing the service takes up to 5 s more.
"""


# A request leaves few objects to the garbage collector. With Python's default of 700, a busy
# service would spend a tenth of its processor time looking for them.
GC_THRESHOLD = 10_000
"""The garbage collector runs after so many more objects were created than freed."""


async def serve_until_signalled(
    configuration: Configuration,
    bind: Callable[[], Sequence[socket.socket]],
    *,
    bind_operations: Callable[[], Sequence[socket.socket]],
    on_listening: Callable[[Server], None],
    metrics: Metrics | None = None,
    examines: bool = True,
) -> None:
    """Serve until the first SIGTERM or SIGINT, then finish the running requests.

    Args:
        configuration: The settings and the plugins.
        bind: Returns the sockets to listen on. It is called when the service has started.
        bind_operations: The same for the operators' own address; no sockets if there is none.
        on_listening: Called with the server when it listens.
        metrics: The metrics; by default new ones.
        examines: Whether this process checks the set-up. If not, it reads what another process of
            the service has found.

    Raises:
        DatalayerStripeError: The service cannot start. The message says what to do.
    """
    # Before the clients of MongoDB and Stripe are created, which are instrumented then.
    async with tracing() as tracer:
        service = await open_service(
            configuration.settings,
            registry=configuration.registry,
            plugin_settings=configuration.plugin_settings,
            metrics=metrics,
            tracer=tracer,
        )
        try:
            await service.start()
            server = Server(make_app(service), bind(), bind_operations())
            # What exists now lives as long as the process: the garbage collector need not visit it.
            gc.collect()
            gc.freeze()
            gc.set_threshold(GC_THRESHOLD)
            # Install the signal handlers before the caller says that the service listens.
            with shutdown_signal() as signalled:
                on_listening(server)
                checks = service.startup_checks(webhook_path=WEBHOOK_PATH, examines=examines)
                async with checks.running(), service.periodic_reconciliation().running():
                    await signalled.wait()
                    logger.info("shutting down")
                    await server.stop(seconds=SHUTDOWN_GRACE_PERIOD)
        finally:
            await service.close()


def listen_for_operations(settings: Settings) -> list[socket.socket]:
    """Listen on the operators' own address, if there is one.

    Raises:
        StartError: The address or the port cannot be used.
    """
    address = settings.operations_address
    return listen(*address, setting=variable("stripe_metrics_address")) if address else []


def log_address(
    configuration: Configuration,
    host: str,
    port: int,
    operations_port: int | None,
    **fields: int,
) -> None:
    """Log the address that the service listens on.

    Args:
        configuration: The settings and the plugins.
        host: The host name or IP address of the command line.
        port: The port.
        operations_port: The port of the operators' own address, if there is one.
        **fields: Further fields of the line.
    """
    address = configuration.settings.stripe_metrics_address
    operations = {}
    if address and operations_port:
        operations["operations_url"] = f"http://{address.rpartition(':')[0]}:{operations_port}"
    logger.info(
        "listening",
        extra={
            "url": f"http://{host}:{port}",
            **operations,
            "mode": "live" if configuration.settings.livemode else "test",
            "plugins": [plugin.name for plugin in configuration.registry.plugins],
            "event_loop": fastest_loop_name(),
            "mongodb_driver": _driver_name(configuration.settings),
            **fields,
        },
    )


def _driver_name(settings: Settings) -> str:
    """Return the name of the MongoDB driver in use: `motor`, `pymongo`, or `memory`."""
    if settings.stripe_mongodb_url.get_secret_value().startswith(MEMORY_URL):
        return "memory"
    return settings.stripe_mongodb_driver
