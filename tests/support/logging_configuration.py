"""Restore the logging configuration after a test that changes it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

FLAGS = ("logThreads", "logProcesses", "logMultiprocessing")


@contextmanager
def restored_logging() -> Iterator[None]:
    """Restore the flags, and the levels and handlers of all loggers, at the end of the block.

    A logger that was created meanwhile passes everything on to those above it.
    """
    before = {one: (one.level, one.handlers[:], one.propagate) for one in _loggers()}
    flags = {name: getattr(logging, name) for name in FLAGS}
    try:
        yield
    finally:
        for one in _loggers():
            level, one.handlers[:], one.propagate = before.get(one, (logging.NOTSET, [], True))
            if one.level != level:
                one.setLevel(level)
        for name, flag in flags.items():
            setattr(logging, name, flag)


def _loggers() -> list[logging.Logger]:
    named = logging.root.manager.loggerDict.values()
    return [logging.root, *(one for one in named if isinstance(one, logging.Logger))]
