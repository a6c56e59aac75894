"""Run PostgreSQL on 127.0.0.1 with a new data folder and its default settings."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.processes import BenchmarkError, tail
from tests.support.ports import free_port

_START_SECONDS = 30.0
_USERS = ("postgres", "nobody")


@dataclass(frozen=True)
class Postgres:
    """A running server.

    Attributes:
        port: Its port on 127.0.0.1.
        pid: Its first process.
        user: The user of the database, who needs no password.
    """

    port: int
    pid: int
    user: str

    def url(self, database: str) -> str:
        """Return the URL of a database."""
        return f"postgres://{self.user}@127.0.0.1:{self.port}/{database}"

    def query(self, database: str, statement: str) -> str:
        """Run a statement, and return what psql prints: the values only.

        Raises:
            BenchmarkError: The statement failed.
        """
        command = [_program("psql"), "-XqtA", "-v", "ON_ERROR_STOP=1", "-c", statement]
        ended = subprocess.run(
            [*command, self.url(database)], capture_output=True, text=True, check=False
        )
        if ended.returncode != 0:
            raise BenchmarkError(f"psql: {ended.stderr.strip()}")
        return ended.stdout.strip()


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a server on the core of the caller, and delete its data at the end of the block."""
    user = _ordinary_user()
    as_user: dict[str, Any] = {}
    if user is not None:
        as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    with tempfile.TemporaryDirectory(prefix="benchmark-postgres-") as name:
        folder = Path(name)
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        data, log = folder / "data", folder / "log"
        owner = "postgres"  # Migrations of stripe-sync-engine name this role.
        subprocess.run(
            [_program("initdb"), "-D", data, "-U", owner, "-A", "trust", "-E", "UTF8"],
            check=True,
            stdout=subprocess.DEVNULL,
            **as_user,
        )
        port = free_port()
        command = [_program("postgres"), "-D", str(data), "-p", str(port), "-h", "127.0.0.1"]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, "-c", "unix_socket_directories="],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **as_user,
            )
        try:
            server = Postgres(port, process.pid, owner)
            _wait(server, log)
            yield server
        finally:
            process.terminate()  # The fast shutdown waits for clients; SIGINT ends them.
            process.send_signal(2)
            process.wait(30)


def _ordinary_user() -> "pwd.struct_passwd | None":
    """Return the user to run as: none if this is an ordinary user, because root is refused."""
    if os.geteuid() != 0:
        return None
    for name in _USERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise BenchmarkError("PostgreSQL does not run as root: run the benchmark as another user.")


def _program(name: str) -> str:
    """Return the path of a program of PostgreSQL. Debian puts the server's outside of PATH."""
    found = shutil.which(name)
    if found is None or name != "psql":
        versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
        found = str(versions[-1]) if versions else found
    if found is None:
        raise BenchmarkError("PostgreSQL is not installed: apt-get install postgresql")
    return found


def _wait(server: Postgres, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            server.query("postgres", "SELECT 1")
        except BenchmarkError:
            if time.monotonic() > deadline:
                raise BenchmarkError(f"PostgreSQL does not answer:\n{tail(log)}") from None
            time.sleep(0.1)
        else:
            return
