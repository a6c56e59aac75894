"""Read and write environment files: lines of `NAME=value`, for docker, systemd and shells.

Comments, blank lines and the order of the lines stay as they are. A file is replaced at once, and
only its owner can read it, because it contains secrets. A file that another user owns or may write
is refused: it could name a plugin folder whose code runs, or an address that gets the key.
"""

import os
import re
import shlex
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..errors import FileChanged, StartError
from ..settings_checks import unquoted

_ASSIGNMENT = re.compile(
    r"(?P<prefix>\s*(?:export\s+)?)(?P<name>[A-Za-z_][A-Za-z0-9_]*)=(?P<value>.*)"
)
# Characters that no shell interprets.
_PLAIN = re.compile(r"[\w./:@%+=,-]*", re.ASCII)
_MAX_BYTES = 1024 * 1024
_ROOT = 0  # the user id


class EnvFile:
    """An environment file. Use :meth:`read`, :meth:`set` and :meth:`write`.

    Args:
        path: The file. A symbolic link is followed.
        text: Its present content, or None if it does not exist.
    """

    def __init__(self, path: Path, text: str | None) -> None:
        self.path = path.resolve()
        self._stored = text
        self._lines = (text or "").removesuffix("\n").split("\n") if text else []

    @classmethod
    def read(cls, path: Path) -> "EnvFile":
        """Read a file. One that does not exist is empty.

        Raises:
            StartError: It cannot be read, is not a regular text file, or is not safe from other
                users of the machine.
        """
        return cls(path, _content(path))

    @property
    def exists(self) -> bool:
        """Whether the file existed when it was read or written the last time."""
        return self._stored is not None

    @property
    def is_private(self) -> bool:
        """Whether only its owner has any permission for the file, or it does not exist."""
        try:
            return not self.path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
        except FileNotFoundError:
            return True

    @property
    def is_changed(self) -> bool:
        """Whether :meth:`write` would change the file."""
        return self._text != self._stored

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield the names and values, without quotes. The last of several assignments counts."""
        found = filter(None, map(_ASSIGNMENT.fullmatch, self._lines))
        return iter({one["name"]: str(unquoted(one["value"])) for one in found}.items())

    def get(self, name: str) -> str | None:
        """Return the value of a variable without quotes, or None if the file does not set it."""
        return dict(self).get(name)

    def set(self, name: str, value: str) -> None:
        """Set a variable, at the place of its last assignment or else at the end of the file.

        Further assignments of the variable are removed, so that no old value stays in the file. If
        one of them has an `export`, it stays: a shell that reads the file may need it.

        Raises:
            StartError: No form of the value is read in the same way by docker, systemd and shells.
        """
        line = f"{name}={quoted(name, value)}"
        found = [(number, _ASSIGNMENT.fullmatch(text)) for number, text in enumerate(self._lines)]
        places = [(number, one["prefix"]) for number, one in found if one and one["name"] == name]
        if not places:
            self._lines.append(line)
            return
        last, prefix = places[-1]
        exports = [one for _, one in places if one.strip()]
        self._lines[last] = f"{exports[-1] if exports else prefix}{line}"
        for number, _ in reversed(places[:-1]):
            del self._lines[number]

    def add_comment(self, text: str) -> None:
        """Add a comment at the end of the file, after a blank line."""
        self._lines += [*([""] if self._lines else []), *(f"# {one}" for one in text.splitlines())]

    def write(self) -> None:
        """Replace the file. Its mode is then 0600, and its owner stays the same.

        Raises:
            FileChanged: Another process has changed it meanwhile.
            StartError: It cannot be written.
        """
        text = self._text
        if _content(self.path) != self._stored:
            raise FileChanged(
                f"{self.path} was changed by another program meanwhile. Run the command again."
            )
        try:
            _replace(self.path, text.encode())
        except OSError as error:
            raise StartError(f"{self.path} cannot be written: {_reason(error)}.") from None
        self._stored = text

    @property
    def _text(self) -> str:
        return "".join(f"{line}\n" for line in self._lines)


def _content(path: Path) -> str | None:
    try:
        # The check is about the very file that is read.
        with open(path, "rb", opener=_open_without_waiting) as file:
            _check(path, os.fstat(file.fileno()))
            content = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StartError(f"{path} cannot be read: {_reason(error)}.") from None
    if len(content) > _MAX_BYTES:
        raise StartError(f"{path} is larger than {_MAX_BYTES:,} bytes: it is no environment file.")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise StartError(f"{path} is not a UTF-8 text file.") from None


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file. A pipe that nobody writes to would block otherwise."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check(path: Path, info: os.stat_result) -> None:
    """Raise an error if a file is not a regular one, or if another user decides what is in it."""
    if not stat.S_ISREG(info.st_mode):
        raise StartError(f"{path} is not a regular file. Name an environment file.")
    if os.name != "posix":
        return
    if info.st_uid not in (os.geteuid(), _ROOT):
        raise StartError(
            f"{path} belongs to another user, who could change which code runs and where the keys "
            "are sent. Check what is in it, and run the command as that user; or change its owner "
            "with chown."
        )
    if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StartError(
            f"Other users may write {path}. Check what is in it, and then run: "
            f"chmod 600 {shlex.quote(str(path))}"
        )


def _replace(path: Path, content: bytes) -> None:
    """Write a temporary file beside the file, and rename it."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            _keep_owner(path, file.fileno())
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _keep_owner(path: Path, descriptor: int) -> None:
    """Give the new file the owner and the group of the present one."""
    try:
        present = path.stat()
    except FileNotFoundError:
        return
    new = os.fstat(descriptor)
    if hasattr(os, "fchown") and (present.st_uid, present.st_gid) != (new.st_uid, new.st_gid):
        os.fchown(descriptor, present.st_uid, present.st_gid)
        os.fchmod(descriptor, stat.S_IRUSR | stat.S_IWUSR)


def _sync_folder(folder: Path) -> None:
    """Make the renaming durable, where folders can be opened."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def quoted(name: str, value: str) -> str:
    """Return a value as docker, systemd and shells read it alike. The service removes quotes.

    Args:
        name: The variable, for the message.
        value: The value, without quotes.

    Raises:
        StartError: There is no such form of the value.
    """
    if value.isprintable():
        if _PLAIN.fullmatch(value):
            return value
        if "'" not in value:
            return f"'{value}'"
        if not set(value) & set('"$`\\!'):
            return f'"{value}"'
    raise StartError(
        f"{name}: the value has characters that no environment file can have. Set another one."
    )


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
