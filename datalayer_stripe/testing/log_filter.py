"""Keep expected failures out of the log."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_logger = logging.getLogger(__name__.partition(".")[0])


class _Silence:
    """Silence of the package's log, for as long as any of its users needs it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._handler = logging.NullHandler()
        self._propagated = True

    def begin(self) -> None:
        with self._lock:
            if not self._users:
                self._propagated = _logger.propagate
                # Without any handler, logging writes warnings to stderr.
                _logger.addHandler(self._handler)
                _logger.propagate = False
            self._users += 1

    def end(self) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                _logger.propagate = self._propagated
                _logger.removeHandler(self._handler)


_silence = _Silence()


@contextmanager
def silent_log() -> Iterator[None]:
    """Log nothing of the package while a context is open.

    Contexts may overlap without being nested, such as those of concurrent tasks.
    """
    _silence.begin()
    try:
        yield
    finally:
        _silence.end()
