"""Run @supabase/stripe-sync-engine and dj-stripe with PostgreSQL, as systems of the benchmark."""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.peers.postgres import Postgres, postgres
from benchmarks.processes import LOAD_CORE, BenchmarkError, running, wait_until_answered
from benchmarks.requests import ACCOUNTS, WEBHOOK_SECRET, payment_intent
from benchmarks.systems import DJ_STRIPE, SYNC_ENGINE, System
from tests.support.ports import free_port

_HERE = Path(__file__).parent
_CACHE = _HERE.parents[1] / ".cache" / "peers"
_INSTALL_SECONDS = 600


class StoredRows:
    """Counts the rows that a peer has stored, as :class:`..books.Books` counts events.

    Args:
        server: The database server.
        database: The name of the database.
        tables: The tables that get one row for each event.
    """

    def __init__(self, server: Postgres, database: str, tables: tuple[str, ...]) -> None:
        self._server = server
        self._database = database
        self._tables = tables
        self._rows = 0
        self._outstanding = 0  # deliveries that were sent, not answered, and not stored yet

    def check(self, *, answered: int, in_flight: int) -> int:
        """Return the number of rows since the last check.

        Args:
            answered: The number of deliveries that were answered with a 2xx.
            in_flight: The maximum number of further deliveries.

        Raises:
            BenchmarkError: A table has another number of rows.
        """
        # One statement sees one state, although deliveries may still be processed.
        selected = ", ".join(f"(SELECT count(*) FROM {table})" for table in self._tables)
        counts = {
            int(n) for n in self._server.query(self._database, f"SELECT {selected}").split("|")
        }
        new = max(counts) - self._rows
        self._outstanding += answered + in_flight - new
        if len(counts) != 1 or new < answered or self._outstanding < 0:
            raise BenchmarkError(f"{answered} deliveries were answered, and {new} rows are stored")
        self._rows += new
        return new


@contextmanager
def open_peers(folder: Path) -> Iterator[list[System]]:
    """Install and run the peers, and PostgreSQL for them, until the end of the block.

    Args:
        folder: Where the logs are written.
    """
    with (
        postgres() as server,
        sync_engine(server, folder) as engine,
        dj_stripe(server, folder) as django,
    ):
        yield [engine, django]


@contextmanager
def sync_engine(server: Postgres, folder: Path) -> Iterator[System]:
    """Install and run stripe-sync-engine in a Node server."""
    installed = _copied("sync_engine")
    _install(["npm", "install", "--no-audit", "--no-fund", "--silent"], installed)
    server.query("postgres", "CREATE DATABASE sync_engine")
    port, log = free_port(), folder / "sync-engine.log"
    environment = {
        **os.environ,
        "DATABASE_URL": server.url("sync_engine"),
        "PORT": str(port),
        "WEBHOOK_SECRET": WEBHOOK_SECRET,
        "NODE_ENV": "production",
    }
    with running(["node", str(installed / "server.cjs")], environment, log) as process:
        url = f"http://127.0.0.1:{port}/webhook"
        wait_until_answered(url, process, log)
        rows = StoredRows(server, "sync_engine", ("stripe.payment_intents",))
        yield System(SYNC_ENGINE, url, process.pid, server.pid, log, rows)


@contextmanager
def dj_stripe(server: Postgres, folder: Path) -> Iterator[System]:
    """Install and run dj-stripe with gunicorn and one worker."""
    project = _HERE / "dj_stripe"
    python = _virtual_environment(project / "requirements.txt")
    server.query("postgres", "CREATE DATABASE dj_stripe")
    stripe_port, port = free_port(), free_port()
    environment = {
        **os.environ,
        "DATABASE_URL": server.url("dj_stripe"),
        "PAYMENT_METHOD": payment_intent("pi_x0")["payment_method"],
        "STRIPE_API_BASE": f"http://127.0.0.1:{stripe_port}",
        "WEBHOOK_SECRET": WEBHOOK_SECRET,
    }
    path = _output([str(python), "seed.py", str(ACCOUNTS)], environment, project)
    stub_log, log = folder / "stripe-stub.log", folder / "dj-stripe.log"
    stub = [sys.executable, "-m", "benchmarks.peers.stripe_stub"]
    command = [str(python), "-m", "gunicorn", "--workers", "1", "--bind", f"127.0.0.1:{port}"]
    command += ["--chdir", str(project), "project:application"]
    stub_environment = {**os.environ, "PORT": str(stripe_port)}
    with (
        running(stub, stub_environment, stub_log, core=str(LOAD_CORE)) as stripe,
        running(command, environment, log) as process,
    ):
        wait_until_answered(f"http://127.0.0.1:{stripe_port}/", stripe, stub_log)
        url = f"http://127.0.0.1:{port}{path}"
        wait_until_answered(url, process, log)
        tables = ("djstripe_paymentintent", "djstripe_event")
        rows = StoredRows(server, "dj_stripe", tables)
        yield System(DJ_STRIPE, url, process.pid, server.pid, log, rows)


def _copied(name: str) -> Path:
    """Copy a folder to the cache, where packages are installed into it, and return the copy."""
    return Path(shutil.copytree(_HERE / name, _CACHE / name, dirs_exist_ok=True))


def _virtual_environment(requirements: Path) -> Path:
    """Create a virtual environment in the cache, and return its interpreter."""
    folder = _CACHE / "dj_stripe"
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    _install([str(python), "-m", "pip", "install", "--quiet", "-r", str(requirements)], folder)
    return python


def _install(command: list[str], folder: Path) -> None:
    """Run a package client in a folder.

    Raises:
        BenchmarkError: It is missing or has failed.
    """
    try:
        subprocess.run(command, cwd=folder, check=True, timeout=_INSTALL_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        raise BenchmarkError(f"A peer cannot be installed: {error}") from error


def _output(command: list[str], environment: Mapping[str, str], folder: Path) -> str:
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if ended.returncode != 0:
        raise BenchmarkError(f"{' '.join(command)} failed:\n{ended.stderr}")
    return ended.stdout.strip().splitlines()[-1]
