"""The systems that are measured: this service and the reference servers, each on its database."""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pymongo import MongoClient

from benchmarks.books import Books, Row
from benchmarks.processes import SERVER_CORE, running, wait_until_answered
from benchmarks.requests import ACCOUNTS, WEBHOOK_SECRET, account_uid, customer_id
from benchmarks.stored_events import store_events
from tests.support.mongod import Mongod, initiate, replica_set_url
from tests.support.ports import free_port

WEBHOOK_PATH = "/api/iam/stripe/v1/webhook"

SERVICE = "this service"
CEILING = "signature check only"
ONE_TRANSACTION = "one transaction per delivery"
GROUP_COMMIT = "group commit, 100 lines"
SYNC_ENGINE = "stripe-sync-engine"
DJ_STRIPE = "dj-stripe"

_REFERENCES = {
    CEILING: "benchmarks.references.ceiling",
    ONE_TRANSACTION: "benchmarks.references.one_transaction",
    GROUP_COMMIT: "benchmarks.references.group_commit",
}

# The cache of the database. It holds the documents and indexes of a million events, as that of a
# database server in production would.
_CACHE_GB = 2.0

# Nothing listens here. The service must not need Stripe for the deliveries of a benchmark.
_NO_STRIPE = "http://127.0.0.1:9"


class Records(Protocol):
    """Checks what a system has stored."""

    def check(self, *, answered: int, in_flight: int) -> int:
        """Return the number of events since the last check. Raise if it is not possible."""


@dataclass(frozen=True)
class System:
    """A running system.

    Attributes:
        name: Its name in the results.
        url: Where it receives deliveries.
        pid: Its process, or the parent of its processes.
        database_pid: The process of its database; None if it has none.
        log: The file with its output.
        books: Checks its database; None if there is nothing to check.
    """

    name: str
    url: str
    pid: int
    database_pid: int | None
    log: Path
    books: Records | None = None


@contextmanager
def mongod(folder: Path) -> Iterator[Mongod]:
    """Run a MongoDB replica set of one node, on the core of the caller."""
    server = Mongod(free_port(), folder / "mongod", replica_set="rs0", cache_gb=_CACHE_GB).start()
    try:
        initiate([server])
        yield server
    finally:
        server.stop()


@contextmanager
def service(
    server: Mongod,
    folder: Path,
    database: str,
    *,
    name: str = SERVICE,
    variables: Mapping[str, str] = {},
    options: tuple[str, ...] = (),
    core: str = str(SERVER_CORE),
    stored_events: int = 0,
) -> Iterator[System]:
    """Run `datalayer-stripe serve` as a user does, on a database in which customers are stored.

    Args:
        server: The database server.
        folder: Where the log is written.
        database: The name of the database.
        name: The name in the results.
        variables: Further environment variables.
        options: Further options of the command.
        core: The core, or the cores, that it runs on.
        stored_events: How many events to store beforehand.
    """
    url = _database_url(server, database)
    with MongoClient[Row](url, tz_aware=True) as client:
        _store_customers(client)
        if stored_events:
            store_events(client, stored_events)
        port = free_port()
        line = [command(), "serve", "--port", str(port), *options]
        log = folder / f"{database}.log"
        environment = {**_environment(), **_settings(url), **variables}
        with running(line, environment, log, core=core) as process:
            base = f"http://127.0.0.1:{port}"
            wait_until_answered(f"{base}/readyz", process, log)
            books = Books(client)
            yield System(name, base + WEBHOOK_PATH, process.pid, server.pid, log, books)


@contextmanager
def reference(server: Mongod, folder: Path, name: str) -> Iterator[System]:
    """Run a reference server.

    Args:
        server: The database server.
        folder: Where the log is written.
        name: The name in the results, which decides which server it is.
    """
    module = _REFERENCES[name]
    database = module.rpartition(".")[2]
    url, port, log = _database_url(server, database), free_port(), folder / f"{database}.log"
    environment = {
        **_environment(),
        "MONGODB_URL": url,
        "PORT": str(port),
        "WEBHOOK_SECRET": WEBHOOK_SECRET,
    }
    with (
        MongoClient[Row](url, tz_aware=True) as client,
        running([sys.executable, "-m", module], environment, log) as process,
    ):
        stores = name != CEILING
        if stores:
            # Transactions that create a collection conflict with each other.
            for collection in ("events", "ledger", "accounts"):
                client.get_default_database().create_collection(collection)
        base = f"http://127.0.0.1:{port}"
        wait_until_answered(base, process, log)
        yield System(
            name,
            base + WEBHOOK_PATH,
            process.pid,
            server.pid if stores else None,
            log,
            Books(client) if stores else None,
        )


def command() -> str:
    """Return the path of the command `datalayer-stripe` of this environment."""
    return str(Path(sys.executable).with_name("datalayer-stripe"))


def _database_url(server: Mongod, database: str) -> str:
    return replica_set_url([server]).replace("/?", f"/{database}?")


def _store_customers(client: MongoClient[Row]) -> None:
    rows = [
        {"_id": account_uid(number), "customer_id": customer_id(number)}
        for number in range(ACCOUNTS)
    ]
    client.get_default_database().customers.insert_many(rows)


def _environment() -> dict[str, str]:
    """Return the environment without the service's own variables."""
    return {name: value for name, value in os.environ.items() if "DATALAYER" not in name}


def _settings(mongodb_url: str) -> dict[str, str]:
    return {
        "DATALAYER_STRIPE_API_KEY": "sk_test_benchmarkBenchmarkBenchmark",
        "DATALAYER_STRIPE_JS_API_KEY": "pk_test_benchmarkBenchmarkBenchmark",
        "DATALAYER_STRIPE_TOPUP_PRODUCT_ID": "prod_benchmarkTopUp",
        "DATALAYER_STRIPE_SUBSCRIPTION_PRODUCT_ID": "prod_benchmarkPlan",
        "DATALAYER_STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "DATALAYER_STRIPE_CUST_PORTAL_ID": "bpc_benchmark",
        "DATALAYER_STRIPE_CUST_PORTAL_URL": "http://127.0.0.1/portal",
        "DATALAYER_STRIPE_MONGODB_URL": mongodb_url,
        "DATALAYER_STRIPE_API_BASE": _NO_STRIPE,
        "DATALAYER_STRIPE_RECONCILE_INTERVAL": "0",
        "DATALAYER_JWT_SECRET": "0123456789abcdef0123456789abcdef",
    }
