"""Who can write the files of a folder of plugins, and so run code in the service."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_CODE = frozenset({".py", ".pyc", ".so"})


def writable_by_everybody(folder: Path) -> Path | None:
    """Return what of the folder every user of this machine can change, or None.

    That is the folder, code or a folder in it, or a folder above one of them or above a link to
    the folder. A folder above with the sticky bit, such as /tmp, is not: there, only an owner can
    replace what is in it. On a read-only file system nobody can write, whatever the modes say:
    Kubernetes mounts a ConfigMap so.

    Raises:
        OSError: if the folder cannot be read.
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
    """Yield the folders below a folder and the code in them, links followed one step.

    Python runs a file of `__pycache__` in place of its source, and a plugin may import the files
    of a folder beside it. A link that leads nowhere or to itself holds no code.
    """
    for path in (folder / name for name in os.listdir(folder)):
        with suppress(OSError, RuntimeError):
            if path.is_dir() and not path.is_symlink():
                yield path
                yield from _code_in(path)
            elif path.is_dir() or path.suffix in _CODE:
                yield path.resolve(strict=True)


def is_read_only(path: Path) -> bool:
    """Return whether the file system of `path` is mounted read-only."""
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def _others_can_write(path: Path) -> bool:
    # Windows has no such modes, and no statvfs().
    if os.name != "posix":
        return False
    return bool(path.stat().st_mode & stat.S_IWOTH) and not is_read_only(path)
