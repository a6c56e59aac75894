"""Start a tracer if the environment variables of OpenTelemetry configure one.

https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from .tracer import NO_TRACER, Tracer

logger = logging.getLogger(__name__)

_EXPORTER_VARIABLE = "OTEL_TRACES_EXPORTER"

_ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

FLUSH_SECONDS = 2.0
"""How long the end of a process waits for a collector. It is a part of the grace period."""


def is_configured(environ: Mapping[str, str]) -> bool:
    """Return whether the variables ask for traces.

    Args:
        environ: The environment variables.

    Returns:
        True if there is an exporter or the endpoint of a collector, and the SDK is not disabled.
    """
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if exporter := environ.get(_EXPORTER_VARIABLE, "").strip().lower():
        return exporter != "none"
    return any(environ.get(name, "").strip() for name in _ENDPOINT_VARIABLES)


@asynccontextmanager
async def tracing() -> AsyncIterator[Tracer]:
    """Yield the tracer that the environment configures, and send its last spans at the end.

    A wrong configuration of traces never stops the service: the log says what is wrong.
    """
    tracer = _start() if is_configured(os.environ) else NO_TRACER
    try:
        yield tracer
    finally:
        await tracer.stop(seconds=FLUSH_SECONDS)


def _start() -> Tracer:
    try:
        from .spans import start_tracer  # noqa: PLC0415 (an optional extra)
    except ImportError as error:
        logger.warning(
            "No traces are sent: variables OTEL_… are set, but the extra is not installed. Run "
            'pip install "datalayer-stripe[otel]", or set OTEL_SDK_DISABLED=true.',
            extra={"missing": error.name},
        )
        return NO_TRACER
    try:
        return start_tracer()
    except Exception as error:
        # The SDK raises plain RuntimeErrors, for example for an exporter that is not installed.
        logger.error(
            "No traces are sent: correct the variables OTEL_… or install the exporter",
            extra={"reason": str(error)},
        )
        return NO_TRACER
