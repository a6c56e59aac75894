"""Reading the output of wrk, and the requests that it sends."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.requests import ACCOUNTS, CREDITS, event_bodies, sign, write_requests
from benchmarks.wrk import LoadError, parse_output
from datalayer_stripe.events import parse


def output(**changes: Any) -> str:
    """Return what wrk prints with the script."""
    found = {
        "answers": 3000,
        "microseconds": 2_000_000,
        "p50": 1500,
        "p99": 9000,
        "refused": 0,
        "broken": 0,
        "late": 0,
    }
    return f"Running 2s test\n  1 threads and 64 connections\n{json.dumps({**found, **changes})}\n"


def test_output_of_wrk_gives_rate_and_latencies() -> None:
    load = parse_output(output())
    assert load.rate == 1500
    assert (load.p50, load.p99) == (1.5, 9.0)


@pytest.mark.parametrize("name", ["refused", "broken", "late"])
def test_an_answer_that_is_not_a_2xx_fails_the_run(name: str) -> None:
    with pytest.raises(LoadError, match=f"1 of 3000 answers were {name}"):
        parse_output(output(**{name: 1}))


@pytest.mark.parametrize("text", ["", "Running 2s test\n", output(answers=0)])
def test_a_run_without_answers_fails(text: str) -> None:
    with pytest.raises(LoadError):
        parse_output(text)


def test_bodies_are_distinct_events_of_typical_size_for_accounts_in_turn() -> None:
    bodies = list(event_bodies("run", ACCOUNTS + 1))
    events = [parse(body) for body in bodies]
    assert len({event.id for event in events}) == len({event.object_id for event in events})
    assert len({event.id for event in events}) == ACCOUNTS + 1
    assert len({event.account_uid for event in events}) == ACCOUNTS
    assert events[0].account_uid == events[ACCOUNTS].account_uid
    assert events[0].customer_id == events[ACCOUNTS].customer_id != events[1].customer_id
    assert events[0].object["metadata"]["credits"] == str(CREDITS)
    assert all(2400 < len(body) < 2600 for body in bodies)


def test_requests_are_written_as_the_script_reads_them(tmp_path: Path) -> None:
    bodies = list(event_bodies("run", 3))
    path = tmp_path / "requests"
    write_requests(path, bodies)
    data = path.read_bytes()
    for body in bodies:
        size = int(data[:7])
        request, data = data[7 : 7 + size], data[7 + size :]
        head, _, sent = request.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        assert sent == body
        assert int(headers["Content-Length"]) == len(body)
        timestamp = int(headers["Stripe-Signature"].split(",")[0].removeprefix("t="))
        assert headers["Stripe-Signature"] == sign(body, timestamp)
    assert not data
