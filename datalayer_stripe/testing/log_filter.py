"""Keep expected failures out of the log."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_PACKAGE = __name__.partition(".")[0]


@contextmanager
def silent_log() -> Iterator[None]:
    """Log nothing of the package while the context is open."""
    logger, handler = logging.getLogger(_PACKAGE), logging.NullHandler()
    propagate = logger.propagate
    logger.addHandler(handler)  # without any handler, logging writes warnings to stderr
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = propagate
        logger.removeHandler(handler)
