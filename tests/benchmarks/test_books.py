"""The check of the books after each run, on events that were stored in bulk."""

from collections.abc import Iterator

import pytest
from pymongo import MongoClient

from benchmarks.books import Books, BooksError, Row
from benchmarks.requests import ACCOUNTS, CREDITS, account_uid
from benchmarks.stored_events import store_events
from datalayer_stripe.store.indexes import declared_collections

pytestmark = pytest.mark.mongod

STORED = 2 * ACCOUNTS


@pytest.fixture
def client(mongodb_url: str) -> Iterator[MongoClient[Row]]:
    """Return a client of a database in which events are stored."""
    with MongoClient[Row](mongodb_url) as client:
        store_events(client, STORED)
        yield client


def deliver(client: MongoClient[Row], number: int, *, credits: int = CREDITS) -> None:
    """Write what a delivery writes."""
    database, uid = client.get_default_database(), account_uid(number)
    database.events.insert_one({"_id": f"evt_{number}"})
    database.ledger.insert_one({"_id": f"pi_{number}", "account_uid": uid, "credits": CREDITS})
    database.accounts.update_one({"_id": uid}, {"$inc": {"credits": credits}})


def test_events_are_stored_as_if_they_had_been_delivered(client: MongoClient[Row]) -> None:
    database = client.get_default_database()
    assert database.events.count_documents({"handlers.top-up-credits.status": "done"}) == STORED
    row = database.ledger.find_one({"account_uid": account_uid(7)})
    assert row is not None
    event = database.events.find_one({"_id": row["event_id"]})
    assert event is not None
    assert event["object_id"] == row["_id"]
    for name, collection in declared_collections().items():
        if collection.indexes:
            assert len(database[name].index_information()) == len(collection.indexes) + 1
    assert Books(client).check(answered=0, in_flight=0) == 0


def test_books_count_the_events_since_the_last_check(client: MongoClient[Row]) -> None:
    books = Books(client)
    for number in range(3):
        deliver(client, number)
    assert books.check(answered=2, in_flight=1) == 3
    deliver(client, 3)
    assert books.check(answered=1, in_flight=0) == 1


def test_a_delivery_of_the_last_run_may_be_stored_after_its_check(
    client: MongoClient[Row],
) -> None:
    books = Books(client)
    assert books.check(answered=0, in_flight=1) == 0
    deliver(client, 0)
    deliver(client, 1)
    assert books.check(answered=1, in_flight=0) == 2
    deliver(client, 2)
    with pytest.raises(BooksError, match="1 events are stored"):
        books.check(answered=0, in_flight=0)


def test_a_lost_event_is_found(client: MongoClient[Row]) -> None:
    books = Books(client)
    deliver(client, 0)
    with pytest.raises(BooksError, match="2 deliveries were answered, and 1 events are stored"):
        books.check(answered=2, in_flight=1)


def test_an_event_that_was_not_sent_is_found(client: MongoClient[Row]) -> None:
    books = Books(client)
    deliver(client, 0)
    with pytest.raises(BooksError, match="1 events are stored"):
        books.check(answered=0, in_flight=0)


@pytest.mark.parametrize("credits", [0, 2 * CREDITS])
def test_lost_and_doubled_credits_are_found(client: MongoClient[Row], credits: int) -> None:
    books = Books(client)
    deliver(client, 0, credits=credits)
    with pytest.raises(BooksError, match="a balance is not the sum of its ledger"):
        books.check(answered=1, in_flight=0)


def test_a_second_ledger_row_is_found(client: MongoClient[Row]) -> None:
    books = Books(client)
    deliver(client, 0)
    client.get_default_database().ledger.insert_one({"_id": "again", "credits": CREDITS})
    with pytest.raises(BooksError, match=r"2001 events and 2002 ledger rows"):
        books.check(answered=1, in_flight=0)
