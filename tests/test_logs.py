"""Log formats, log contexts and the configuration; all parts of an entry are redacted."""

import asyncio
import io
import json
import logging
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datalayer_stripe.logs import (
    MAX_TEXT_CHARS,
    bind_log_context,
    configure_logging,
    default_config,
    log_context,
)

CONFIG = Path(__file__).parents[1] / "conf" / "logging.toml"

logger = logging.getLogger("datalayer_stripe.example")

Logged = Callable[[], str]


class Terminal(io.StringIO):
    """Stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Logged:
    """Return a function that returns what was logged."""
    return lambda: capsys.readouterr().err


def entries(lines: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.splitlines()]


def test_json_is_logged_if_stderr_is_not_a_terminal(logged: Logged) -> None:
    configure_logging(level="info")
    with log_context(request_id="req-1", event_id="evt_1", account_uid=None):
        logger.info("credited %d", 50, extra={"credits": 50, "tags": ["a", {"b": None}]})
    logger.debug("not at this level")
    (entry,) = entries(logged())
    assert list(entry)[:4] == ["time", "level", "logger", "message"]
    assert entry.pop("time").endswith("+00:00")
    assert entry == {
        "level": "INFO",
        "logger": "datalayer_stripe.example",
        "message": "credited 50",
        "request_id": "req-1",
        "event_id": "evt_1",
        "credits": 50,
        "tags": ["a", {"b": None}],
    }


def test_text_is_logged_on_a_terminal(monkeypatch: pytest.MonkeyPatch, logged: Logged) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    configure_logging()
    with log_context(request_id="req-1"):
        logger.warning("credited", extra={"credits": 50, "reason": "two words", "empty": ""})
    time_text, line = terminal.getvalue().split(" ", 1)
    assert len(time_text) == len("12:00:00")
    assert line == (
        "WARNING  datalayer_stripe.example  credited"
        ' credits=50 reason="two words" empty="" request_id=req-1\n'
    )


@pytest.mark.parametrize("as_json", [True, False])
def test_format_can_be_set(logged: Logged, as_json: bool) -> None:
    configure_logging(json=as_json)
    logger.info("hello")
    assert logged().startswith("{") is as_json


def test_log_contexts_can_be_nested(logged: Logged) -> None:
    configure_logging(json=True)
    with log_context(request_id="req-1"):
        with log_context(event_id="evt_1", request_id="req-2"):
            logger.info("inner")
        logger.info("outer")
    logger.info("none")
    inner, outer, none = entries(logged())
    assert (inner["request_id"], inner["event_id"]) == ("req-2", "evt_1")
    assert outer["request_id"] == "req-1"
    assert "event_id" not in outer
    assert "request_id" not in none


@pytest.mark.gen_test
async def test_bound_log_context_applies_to_its_task_only(logged: Logged) -> None:
    configure_logging(json=True)
    both_bound = asyncio.Barrier(2)

    async def request(number: int) -> None:
        bind_log_context(request_id=f"req-{number}")
        await both_bound.wait()
        logger.info("%d", number)

    await asyncio.gather(request(1), request(2))
    logger.info("after")
    seen = {entry["message"]: entry.get("request_id") for entry in entries(logged())}
    assert seen == {"1": "req-1", "2": "req-2", "after": None}


@pytest.mark.parametrize("as_json", [True, False])
def test_all_parts_of_an_entry_are_redacted(logged: Logged, as_json: bool) -> None:
    configure_logging(json=as_json)
    # A secret at the start of a line is the difficult case: in JSON it follows the characters \n.
    try:
        raise ValueError("in a traceback\nsk_test_traceback")
    except ValueError as error:
        with log_context(account_uid="context@example.com"):
            logger.exception(
                "message\nsk_test_message %s",
                "argument@example.com",
                extra={
                    "text": "sk_test_extra",
                    "nested": {"key": ["sk_test_nested"]},
                    "object": error,
                },
                stack_info=True,
            )
    text = logged()
    if as_json:
        text = json.dumps(entries(text))
    # The traceback contains the source line, in which the secret must be redacted too.
    for part in ("traceback", "message", "extra", "nested"):
        assert f"sk_test_{part}" not in text
    assert "@example.com" not in text
    assert text.count("[redacted]") >= 7
    assert "Traceback" in text
    assert "Stack (most recent call last)" in text


@pytest.mark.parametrize("as_json", [True, False])
def test_middle_of_a_long_text_is_left_out_without_splitting_a_secret(
    logged: Logged, as_json: bool
) -> None:
    configure_logging(json=as_json)
    address = "jo@example.com"
    for offset in range(len(address) + 1):
        text = "x " * (MAX_TEXT_CHARS // 4) + address + " y" * MAX_TEXT_CHARS
        logger.info("%s", text[offset:] + " end")
        line = logged()
        assert len(line) < MAX_TEXT_CHARS + 400
        assert "characters left out" in line
        assert "end" in line
        assert "example" not in line.replace("datalayer_stripe.example", "")


CONTROLS = "".join(map(chr, (*range(0x09), 0x0B, 0x1B, 0x7F, *range(0x80, 0xA0)))) + "\u2028\u202e"


@pytest.mark.parametrize("as_json", [True, False])
def test_control_characters_are_escaped(logged: Logged, as_json: bool) -> None:
    configure_logging(json=as_json)
    try:
        raise ValueError(f"raised {CONTROLS}")
    except ValueError:
        logger.exception("message %s", CONTROLS, extra={"field": CONTROLS})
    text = logged()
    assert not [character for character in CONTROLS if character in text]
    assert text.count("\\u009b") >= 3
    if as_json:
        [entry] = entries(text)
        assert entry["field"] == CONTROLS


def test_libraries_do_not_log_bodies_at_debug_level(logged: Logged) -> None:
    configure_logging(level="DEBUG", json=True)
    for name in ("stripe", "pymongo.command", "datalayer_stripe.example"):
        logging.getLogger(name).debug("body")
    assert [entry["logger"] for entry in entries(logged())] == ["datalayer_stripe.example"]


def test_example_file_has_the_default_configuration() -> None:
    text = CONFIG.read_text(encoding="utf-8")
    assert tomllib.loads(text) == default_config(level="INFO", json=True)


def test_configuration_file_overrides_the_arguments(logged: Logged, tmp_path: Path) -> None:
    text = CONFIG.read_text(encoding="utf-8")
    changed = tmp_path / "logging.toml"
    changed.write_text(text.replace('level = "INFO"', 'level = "ERROR"'), encoding="utf-8")
    configure_logging(level="DEBUG", json=False, config_file=changed)
    logger.warning("no")
    logger.error("yes")
    assert [entry["message"] for entry in entries(logged())] == ["yes"]


def test_configuration_file_may_log_threads_and_processes(logged: Logged, tmp_path: Path) -> None:
    text = CONFIG.read_text(encoding="utf-8")
    old = '"()" = "datalayer_stripe.logs.JsonFormatter"'
    assert old in text
    changed = tmp_path / "logging.toml"
    changed.write_text(text.replace(old, 'format = "%(threadName)s %(process)d"'), encoding="utf-8")
    configure_logging(config_file=changed)
    logger.warning("hello")
    assert re.fullmatch(r"MainThread \d+\n", logged())


def test_wrong_level_or_file_raises_value_error(logged: Logged, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="root"):
        configure_logging(level="LOUD")
    broken = tmp_path / "logging.toml"
    broken.write_text("version =", encoding="utf-8")
    with pytest.raises(ValueError, match="Invalid value"):
        configure_logging(config_file=broken)
