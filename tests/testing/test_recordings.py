"""Recorded events, and those of one's own."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from datalayer_stripe import Event
from datalayer_stripe.errors import KitError
from datalayer_stripe.testing import load_event, recorded_event, recorded_types
from datalayer_stripe.testing.recordings import EVENTS, objects_beside
from tests.support.record import Story

NAMES = sorted(path.stem for path in EVENTS.glob("*.json"))


@pytest.mark.parametrize("name", NAMES)
def test_each_recording_is_an_event_of_its_name_and_of_nobody(name: str) -> None:
    event = recorded_event(name)
    assert name == event["type"] or name.startswith(f"{event['type']}.")
    assert Event.model_validate(event).livemode is False
    text = json.dumps(event)
    assert set(re.findall(r"[\w.]+@([\w.]+)", text)) <= {"example.com"}
    assert "127.0.0.1" not in text


def test_each_type_has_a_recording_of_its_plain_name() -> None:
    assert set(recorded_types()) == {name for name in NAMES if recorded_event(name)["type"] == name}


def test_a_recorded_event_is_the_caller_s_own() -> None:
    changed = recorded_event("invoice.paid")
    changed["data"]["object"]["lines"]["data"].clear()
    assert recorded_event("invoice.paid")["data"]["object"]["lines"]["data"]


def test_fields_and_ids_are_replaced() -> None:
    metadata = {"account_uid": "alice"}
    event = recorded_event(
        "payment_intent.succeeded", id="evt_1", object_id="pi_1", amount=7, metadata=metadata
    )
    assert (event["id"], event["data"]["object"]["id"]) == ("evt_1", "pi_1")
    assert event["data"]["object"]["amount"] == 7
    metadata.clear()
    assert event["data"]["object"]["metadata"] == {"account_uid": "alice"}


def test_an_unknown_type_is_told_with_the_nearest() -> None:
    with pytest.raises(KitError, match=r"invoice\.payed\. The nearest: invoice\.paid") as raised:
        recorded_event("invoice.payed")
    assert "load_event(path)" in str(raised.value)


def test_an_invoice_comes_with_its_subscription_and_customer_of_that_time() -> None:
    failed = objects_beside(recorded_event("invoice.payment_failed"))
    kinds = {one["object"]: one for one in failed}
    assert kinds["subscription"]["status"] == "past_due"
    assert kinds["customer"]["name"] == "Ada Lovelace"
    paid = objects_beside(recorded_event("invoice.paid"))
    assert [one["status"] for one in paid if one["object"] == "subscription"] == ["active"]


def test_the_story_is_recorded_as_the_local_stripe_tells_it_today() -> None:
    story = Story()
    story.tell()
    for event_type, body in story.recordings().items():
        kept = recorded_event(event_type)
        told = json.loads(body)
        assert kept["data"]["object"].keys() == told["data"]["object"].keys(), event_type


# One's own


def written(folder: Path, value: Any) -> Path:
    path = folder / "event.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def test_an_event_of_one_s_own_is_read(tmp_path: Path) -> None:
    event = recorded_event("invoice.paid")
    assert load_event(written(tmp_path, event)) == event
    assert load_event(str(tmp_path / "event.json")) == event


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("{", "is not JSON"),
        ([], "is no Stripe event but a list"),
        ({"id": "evt_1"}, "type: Field required"),
        (
            recorded_event("invoice.paid")["data"]["object"],
            "This looks like the event's object alone",
        ),
        ({**recorded_event("invoice.paid"), "livemode": True}, "is of live mode"),
    ],
    ids=["no JSON", "list", "incomplete", "object", "live"],
)
def test_what_is_no_event_is_told(tmp_path: Path, value: Any, words: str) -> None:
    with pytest.raises(KitError, match=re.escape(words)) as raised:
        load_event(written(tmp_path, value))
    assert str(tmp_path / "event.json") in str(raised.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(KitError, match="No such file"):
        load_event(tmp_path / "none.json")
