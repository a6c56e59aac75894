"""Restore the logging configuration after a test that changes it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

FLAGS = ("logThreads", "logProcesses", "logMultiprocessing")

_LOGGERS = (None, "stripe", "pymongo", "tornado.general")


@contextmanager
def restored_logging() -> Iterator[None]:
    """Restore levels, handlers and flags at the end of the block."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(one, one.level, one.handlers[:]) for one in loggers]
    flags = {name: getattr(logging, name) for name in FLAGS}
    try:
        yield
    finally:
        for one, level, handlers in before:
            one.setLevel(level)
            one.handlers[:] = handlers
        for name, flag in flags.items():
            setattr(logging, name, flag)
