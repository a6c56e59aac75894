"""Folder in memory for the data of a mongod, which a later test run removes if this one is killed.

Files in memory are never deleted by the system, so those of killed runs would fill it.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

PREFIX = "datalayer-stripe-mongod-"

MIN_AGE = 60.0
"""Seconds after which a folder without a lock is a leftover: it is locked after its creation."""


@contextmanager
def memory_folder(parent: Path) -> Iterator[Path]:
    """Create a folder for the duration of the block, and remove those of killed test runs.

    Args:
        parent: The folder in which all test runs create theirs.
    """
    for folder in parent.glob(f"{PREFIX}*"):
        _remove_if_abandoned(folder)
    with TemporaryDirectory(dir=parent, prefix=PREFIX) as name:
        folder = Path(name)
        with _locked(folder, fcntl.LOCK_EX):
            yield folder


@contextmanager
def _locked(folder: Path, operation: int) -> Iterator[None]:
    """Lock a folder. The kernel releases the lock when the process ends for any reason.

    Args:
        folder: The folder.
        operation: The operation of `flock`.

    Raises:
        OSError: The folder is another user's, or another process has locked it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, operation)
        yield
    finally:
        os.close(descriptor)


def _remove_if_abandoned(folder: Path) -> None:
    try:
        with _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
            if time.time() - folder.stat().st_mtime >= MIN_AGE:
                shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return  # it is in use, another user's, or has just been removed
