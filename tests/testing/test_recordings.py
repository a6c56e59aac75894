"""Recorded events, and events from files."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from datalayer_stripe import Event
from datalayer_stripe.errors import KitError
from datalayer_stripe.testing import load_event, recorded_event, recorded_types
from datalayer_stripe.testing.recordings import EVENTS, referenced_objects
from tests.support.record import Scenario

NAMES = sorted(path.stem for path in EVENTS.glob("*.json"))


@pytest.mark.parametrize("name", NAMES)
def test_recording_has_the_type_of_its_name_and_no_personal_data(name: str) -> None:
    event = recorded_event(name)
    assert name == event["type"] or name.startswith(f"{event['type']}.")
    assert Event.model_validate(event).livemode is False
    text = json.dumps(event)
    assert set(re.findall(r"[\w.]+@([\w.]+)", text)) <= {"example.com"}
    assert "127.0.0.1" not in text


def test_each_type_has_a_recording_without_suffix() -> None:
    assert set(recorded_types()) == {name for name in NAMES if recorded_event(name)["type"] == name}


def test_recorded_event_is_a_copy() -> None:
    changed = recorded_event("invoice.paid")
    changed["data"]["object"]["lines"]["data"].clear()
    assert recorded_event("invoice.paid")["data"]["object"]["lines"]["data"]


def test_fields_and_ids_of_recorded_event_are_replaced() -> None:
    metadata = {"account_uid": "alice"}
    event = recorded_event(
        "payment_intent.succeeded", id="evt_1", object_id="pi_1", amount=7, metadata=metadata
    )
    assert (event["id"], event["data"]["object"]["id"]) == ("evt_1", "pi_1")
    assert event["data"]["object"]["amount"] == 7
    metadata.clear()
    assert event["data"]["object"]["metadata"] == {"account_uid": "alice"}


def test_unknown_recording_raises_error_with_similar_names() -> None:
    with pytest.raises(KitError, match=r"invoice\.payed\. Similar names: invoice\.paid") as raised:
        recorded_event("invoice.payed")
    assert "load_event(path)" in str(raised.value)


def test_referenced_objects_are_those_of_the_time_of_the_event() -> None:
    failed = referenced_objects(recorded_event("invoice.payment_failed"))
    kinds = {one["object"]: one for one in failed}
    assert kinds["subscription"]["status"] == "past_due"
    assert kinds["customer"]["name"] == "Ada Lovelace"
    paid = referenced_objects(recorded_event("invoice.paid"))
    assert [one["status"] for one in paid if one["object"] == "subscription"] == ["active"]


def test_recordings_have_the_fields_of_the_local_stripe() -> None:
    scenario = Scenario()
    scenario.run()
    for event_type, body in scenario.recordings().items():
        recorded = recorded_event(event_type)["data"]["object"]
        made_now = json.loads(body)["data"]["object"]
        assert recorded.keys() == made_now.keys(), event_type


# Events from files


def write_event(folder: Path, value: Any) -> Path:
    path = folder / "event.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def test_event_is_loaded_from_file(tmp_path: Path) -> None:
    event = recorded_event("invoice.paid")
    assert load_event(write_event(tmp_path, event)) == event
    assert load_event(str(tmp_path / "event.json")) == event


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("{", "is not JSON"),
        ([], "is not a Stripe event but a list"),
        ({"id": "evt_1"}, "type: Field required"),
        (
            recorded_event("invoice.paid")["data"]["object"],
            "This looks like only the event's object",
        ),
        ({**recorded_event("invoice.paid"), "livemode": True}, "is an event of live mode"),
    ],
    ids=["not JSON", "list", "incomplete", "object", "live"],
)
def test_file_without_event_raises_error(tmp_path: Path, value: Any, words: str) -> None:
    with pytest.raises(KitError, match=re.escape(words)) as raised:
        load_event(write_event(tmp_path, value))
    assert str(tmp_path / "event.json") in str(raised.value)


def test_missing_file_raises_error(tmp_path: Path) -> None:
    with pytest.raises(KitError, match="No such file"):
        load_event(tmp_path / "none.json")
