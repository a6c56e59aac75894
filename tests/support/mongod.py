"""Start mongod processes: standalone servers and members of replica sets.

They listen on a port of 127.0.0.1, and store their data in a given folder.
"""

import importlib.util
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Self

from pymongo import MongoClient
from pymongo.errors import PyMongoError

START_TIMEOUT = 120.0  # Seconds. It is long enough for a loaded machine.
POLL = 0.02

# On Linux the kernel kills mongod when the test process ends for any reason: 1 is PR_SET_PDEATHSIG,
# see prctl(2). It is set in the child before exec, which is safe if the parent has threads, unlike
# preexec_fn.
_EXEC = (
    "import ctypes, os, sys;"
    "sys.platform == 'linux' and ctypes.CDLL(None).prctl(1, 9);"
    "os.execv(sys.argv[1], sys.argv[1:])"
)


class MongodError(Exception):
    """An operation of mongod has failed. The message contains the end of its log."""


@cache
def find_mongod() -> Path | None:
    """Return the path of a mongod that runs here: from the test wheel, or else from PATH."""
    candidates: list[Path] = []
    spec = importlib.util.find_spec("fiftyone")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        candidates.append(Path(folder) / "db" / "bin" / "mongod")
    if on_path := shutil.which("mongod"):
        candidates.append(Path(on_path))
    return next((path for path in candidates if _runs(path)), None)


def _runs(path: Path) -> bool:
    try:
        return subprocess.run([path, "--version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


class Mongod:
    """One mongod process; `start` again after `stop` or `kill` keeps its data and its port."""

    def __init__(
        self, port: int, dbpath: Path, replica_set: str | None = None, *, cache_gb: float = 0.25
    ) -> None:
        self.port = port
        self.dbpath = dbpath
        self.replica_set = replica_set
        self._cache_gb = cache_gb
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def direct_url(self) -> str:
        """The URL of this very process, whatever its role in a replica set."""
        return f"mongodb://{self.address}/?directConnection=true"

    @property
    def log_path(self) -> Path:
        return self.dbpath / "mongod.log"

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        """The id of the process, which must be running."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> Self:
        """Start the process and wait until it answers."""
        if self._process is not None:
            raise MongodError(f"mongod on port {self.port} runs already")
        binary = find_mongod()
        if binary is None:
            raise MongodError("there is no mongod on this machine")
        self.dbpath.mkdir(parents=True, exist_ok=True)
        command = [str(binary), "--dbpath", str(self.dbpath), "--logpath", str(self.log_path)]
        command += ["--logappend", "--bind_ip", "127.0.0.1", "--port", str(self.port)]
        command += ["--nounixsocket", "--wiredTigerCacheSizeGB", f"{self._cache_gb:g}"]
        command += ["--quiet", "--setParameter", "diagnosticDataCollectionEnabled=false"]
        if self.replica_set:
            command += ["--replSet", self.replica_set, "--oplogSize", "64"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", _EXEC, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C in the terminal is for the tests, which then stop it
        )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """End the process as an operator would (SIGTERM), and wait for its end."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the process as a crash would (SIGKILL), and wait for its end."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(START_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        with _client(self) as client:
            while True:
                if self._process is None or self._process.poll() is not None:
                    raise MongodError(f"mongod ended during its start\n{self._log_tail()}")
                try:
                    client.admin.command("ping")
                except PyMongoError:
                    if time.monotonic() > deadline:
                        raise MongodError(f"mongod does not answer\n{self._log_tail()}") from None
                    time.sleep(POLL)
                else:
                    return

    def _log_tail(self) -> str:
        if not self.log_path.exists():
            return "(no log)"
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-20:])


def replica_set_url(members: Sequence[Mongod]) -> str:
    """Return the URL of a replica set."""
    addresses = ",".join(member.address for member in members)
    return f"mongodb://{addresses}/?replicaSet={members[0].replica_set}"


def initiate(members: Sequence[Mongod]) -> Mongod:
    """Initiate a replica set of started members, and return its primary."""
    config = {
        "_id": members[0].replica_set,
        "members": [{"_id": i, "host": member.address} for i, member in enumerate(members)],
        # A killed primary is replaced after one or two seconds instead of ten.
        "settings": {"electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 200},
    }
    with MongoClient[dict[str, Any]](members[0].direct_url) as client:
        client.admin.command("replSetInitiate", config)
    # A member in its initial sync cannot vote or become primary.
    _wait_for(lambda: all(map(_is_member, members)), "the members have not joined")
    return wait_for_primary(members)


def _is_member(mongod: Mongod) -> bool:
    hello = _hello(mongod)
    return bool(hello.get("isWritablePrimary") or hello.get("secondary"))


def wait_for_primary(members: Sequence[Mongod]) -> Mongod:
    """Wait until one of the members is a writable primary, and return it."""
    primaries: list[Mongod] = []

    def elected() -> bool:
        primaries.extend(
            one for one in members if one.running and _hello(one).get("isWritablePrimary")
        )
        return bool(primaries)

    _wait_for(elected, "the replica set has no primary")
    return primaries[0]


def _wait_for(condition: Callable[[], bool], message: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT
    while not condition():
        if time.monotonic() > deadline:
            raise MongodError(message)
        time.sleep(POLL)


def _hello(mongod: Mongod) -> dict[str, Any]:
    try:
        with _client(mongod) as client:
            return dict(client.admin.command("hello"))
    except PyMongoError:
        return {}


def _client(mongod: Mongod) -> MongoClient[dict[str, Any]]:
    return MongoClient(mongod.direct_url, serverSelectionTimeoutMS=500)
