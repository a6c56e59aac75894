"""Measure what stored payments take in MongoDB: documents, compressed files and indexes.

Stores events with their ledger rows, as if they had been delivered before, and prints the bytes per
event of each collection. The ids are as long and as random as Stripe's.
"""

import argparse
import tempfile
from pathlib import Path

from pymongo import MongoClient

from benchmarks.books import Row
from benchmarks.requests import ACCOUNTS
from benchmarks.stored_events import store_events
from tests.support.mongod import Mongod, initiate
from tests.support.ports import free_port


def main() -> None:
    """Fill an empty database, and print a line for each collection and index."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    events = parser.parse_args().events // ACCOUNTS * ACCOUNTS
    with tempfile.TemporaryDirectory() as folder:
        mongod = Mongod(free_port(), Path(folder), replica_set="rs0").start()
        try:
            initiate([mongod])
            url = f"mongodb://{mongod.address}/storage?directConnection=true"
            client: MongoClient[Row] = MongoClient(url)
            store_events(client, events)
            client.admin.command("fsync")
            database = client.get_default_database()
            print(f"{events:,} payments, in bytes for each")
            for name in ("events", "ledger"):
                measured = database.command("collStats", name)
                print(
                    f"{name}: {measured['size'] / events:.0f} of documents, "
                    f"{measured['storageSize'] / events:.0f} compressed in files"
                )
                for index, size in measured["indexSizes"].items():
                    print(f"  index {index}: {size / events:.0f}")
            client.close()
        finally:
            mongod.kill()


if __name__ == "__main__":
    main()
