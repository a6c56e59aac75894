"""Helpers for all commands: settings, a service for one command, and exit codes."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, NoReturn, TypeVar

from ..composition import open_service
from ..configuration import Configuration, read_configuration
from ..errors import (
    DatalayerStripeError,
    SettingsError,
    StartError,
    StoreUnavailable,
    StripeKeyRefused,
    StripePermissionMissing,
    StripeUnavailable,
)
from ..logs import configure_logging
from ..metrics import Metrics
from ..service import Service
from ..settings import Settings, variable
from ..store.connect import MEMORY_URL
from ..stripe_api.client import StripeClient
from ..stripe_api.permissions import permission_label
from .event_loop import LoopFactory
from .output.terminal import print_error

T = TypeVar("T")

FAILURE_EXIT_CODE = 2
"""The exit code of a command that ended with one of our errors."""

DIFFERENCES_EXIT_CODE = 3
"""The exit code of a command that found differences and did not correct them."""


def run(work: Coroutine[Any, Any, T], *, loop_factory: LoopFactory | None = None) -> T:
    """Run a coroutine to its end, and return its result.

    If it raises one of our errors, print the message on stderr and exit with code 2.

    Args:
        work: The coroutine.
        loop_factory: Creates the event loop. The default is asyncio's.
    """
    try:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(work)
    except DatalayerStripeError as error:
        fail(explain(error))


def explain(error: DatalayerStripeError) -> str:
    """Return the message of an error for the person who has run the command."""
    match error:
        case StripePermissionMissing(permission=str(permission)):
            return (
                f"The restricted key lacks the permission {permission} "
                f"({permission_label(permission)}). Add it in Stripe's dashboard, Developers → "
                "API keys → the key → Edit key. Then run the command again."
            )
        case StripeKeyRefused():
            return (
                f"Stripe refuses the key: check {variable('stripe_api_key')} and its permissions, "
                "in Stripe's dashboard, Developers → API keys."
            )
        case StripeUnavailable():
            # Its own message is for the people who buy.
            return (
                "Stripe does not answer: check that this machine can reach "
                "https://api.stripe.com, and see https://status.stripe.com. Then run the command "
                "again."
            )
        case StoreUnavailable():
            return (
                f"The database does not answer: check {variable('stripe_mongodb_url')} and the "
                "state of the replica set. Then run the command again."
            )
    return str(error)


def fail(message: str) -> NoReturn:
    """Print a message on stderr and exit with code 2."""
    print_error(message)
    sys.exit(FAILURE_EXIT_CODE)


def load_configuration(*, running_plugins: bool = True) -> Configuration:
    """Read the configuration from the environment.

    If it is not valid, print a line for each problem on stderr and exit with code 2.

    Args:
        running_plugins: Whether plugins will run. If not, their own settings are not read.
    """
    try:
        return read_configuration(running_plugins=running_plugins)
    except StartError as error:
        fail_to_start(error)


def fail_to_start(error: StartError) -> NoReturn:
    """Print why a configuration is not valid, and exit with code 2.

    If the environment has no setting at all, say where `setup` has written them.

    Args:
        error: The error.
    """
    message = str(error)
    has_settings = any(name.startswith("DATALAYER_STRIPE_") for name in os.environ)
    if isinstance(error, SettingsError) and not has_settings:
        message += (
            "\n\nThe environment has no settings. If `datalayer-stripe setup` has written them to "
            "a file, read it first: set -a; . ./datalayer-stripe.env; set +a"
        )
    fail(message)


@asynccontextmanager
async def command_service(*, running_plugins: bool = False) -> AsyncIterator[Service]:
    """Open a service for the duration of one command. It logs errors only.

    Args:
        running_plugins: Whether the command runs plugins.

    Raises:
        StartError: The service cannot start, or its database is in the memory of a process.
    """
    configure_logging(level="ERROR")
    configuration = load_configuration(running_plugins=running_plugins)
    if configuration.settings.stripe_mongodb_url.get_secret_value().startswith(MEMORY_URL):
        raise StartError(
            f"{variable('stripe_mongodb_url')} is memory://, which other processes cannot read. "
            "Set it to the database of the running service."
        )
    service = await open_service(
        configuration.settings,
        registry=configuration.registry,
        plugin_settings=configuration.plugin_settings,
    )
    try:
        if running_plugins:
            # Start the plugins but not the worker: `serve` runs the deferred jobs.
            await service.lifespans.start()
        yield service
    finally:
        await service.close()


@asynccontextmanager
async def command_client(settings: Settings) -> AsyncIterator[StripeClient]:
    """Open a client of Stripe's API for the duration of one command.

    Args:
        settings: The settings.
    """
    client = StripeClient(
        settings.stripe_api_key.get_secret_value(),
        metrics=Metrics(),
        api_base=settings.stripe_api_base,
    )
    try:
        yield client
    finally:
        await client.close()
