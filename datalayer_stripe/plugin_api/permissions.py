"""Check who can write the files of a plugin folder, and so run code in the service."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_CODE = frozenset({".py", ".pyc", ".so"})


def writable_by_everybody(folder: Path) -> Path | None:
    """Return the first path of a plugin folder that every user of this machine can write, or None.

    Checked are the folder, its sub-folders, its code, and all folders above them and above a link
    to the folder. A folder above that has the sticky bit, such as /tmp, is accepted: there, only
    an owner can replace a file. A read-only file system is accepted whatever its modes say:
    Kubernetes mounts a ConfigMap like that.

    Args:
        folder: The folder.

    Raises:
        OSError: The folder cannot be read.
    """
    named, folder = folder.absolute(), folder.resolve()
    files = set(_code_in(folder))
    for path in sorted({folder, *files}):
        if _others_can_write(path):
            return path
    above = {parent for path in (named, folder, *files) for parent in path.parents} - {folder}
    for path in sorted(above):
        if _others_can_write(path) and not path.stat().st_mode & stat.S_ISVTX:
            return path
    return None


def _code_in(folder: Path) -> Iterator[Path]:
    """Yield the sub-folders of a folder and the code in them; links are followed one step.

    Python runs a file of `__pycache__` in place of its source, and a plugin may import files of a
    sub-folder. A dangling or circular link holds no code.
    """
    for path in (folder / name for name in os.listdir(folder)):
        with suppress(OSError, RuntimeError):
            if path.is_dir() and not path.is_symlink():
                yield path
                yield from _code_in(path)
            elif path.is_dir() or path.suffix in _CODE:
                yield path.resolve(strict=True)


def is_read_only(path: Path) -> bool:
    """Return whether the file system of a path is mounted read-only."""
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def _others_can_write(path: Path) -> bool:
    # Windows has neither these modes nor statvfs().
    if os.name != "posix":
        return False
    return bool(path.stat().st_mode & stat.S_IWOTH) and not is_read_only(path)
