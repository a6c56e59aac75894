"""Log formats, log contexts, the configuration, and the redaction of secrets."""

import asyncio
import importlib
import io
import json
import logging
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from datalayer_stripe.logs import (
    MAX_TEXT_CHARS,
    REDACTIONS,
    bind_log_context,
    configure_logging,
    default_config,
    log_context,
    redact,
)

CONFIG = Path(__file__).parents[1] / "conf" / "logging.toml"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"

# The standard library's parser of regular expressions, which is not public.
re_parser = importlib.import_module("re._parser")
UNBOUNDED = re_parser.MAXREPEAT

logger = logging.getLogger("datalayer_stripe.example")

Logged = Callable[[], str]


class Terminal(io.StringIO):
    """Stream that claims to be a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Iterator[Logged]:
    """Return a function that returns what was logged. Restore the logging configuration."""
    loggers = [logging.getLogger(name) for name in (None, "stripe", "pymongo")]
    before = [(one, one.level, one.handlers[:]) for one in loggers]
    yield lambda: capsys.readouterr().err
    for one, level, handlers in before:
        one.setLevel(level)
        one.handlers[:] = handlers


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


SECRETS = [
    "sk_test_example",
    "sk_live_51AbCdEf",
    "rk_live_51AbCdEf",
    "whsec_ab12+/==",
    "pi_3NxAbc_secret_xyz123",
    "seti_1NxAbc_secret_xyz123",
    "cs_test_a1B2_secret_xyz",
    JWT,
    "jo.smith+tag@mail.example.com",
    "jo@example.com",
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("around", ["{}", "key='{}'", "a\n{}\nb", "(no such key: {})", r"\n{}\n"])
def test_secrets_are_redacted(secret: str, around: str) -> None:
    text = redact(around.format(secret))
    assert secret not in text
    assert "[redacted]" in text


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("Authorization: Bearer abc.def", "Authorization: Bearer [redacted]"),
        ("authorization: bearer 0123456789abcdef", "authorization: bearer [redacted]"),
        ("Basic c2tfdGVzdF9leGFtcGxlOg==", "Basic [redacted]"),
        (
            "mongodb://name:p@ss/word@db.example.com:27017/datalayer",
            "mongodb://[redacted]@db.example.com:27017/datalayer",
        ),
        ("mongodb+srv://name:word@db.example.com", "mongodb+srv://[redacted]@db.example.com"),
        ("MONGODB://name:wo'rd@db.example.com", "MONGODB://[redacted]@db.example.com"),
    ],
)
def test_text_around_credentials_is_kept(text: str, redacted: str) -> None:
    assert redact(text) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "the bearer token was refused",
        "a basic plan",
        "task_sk: pk_test_example pi_3NxAbc evt_1NxAbc cus_1 price_1 sub_1",
        "DATALAYER_STRIPE_WEBHOOK_SECRET stripe_webhook_secrets client_secret",
        "mongodb://127.0.0.1:27017/datalayer?replicaSet=rs0",
        "@plugin.on and user@localhost",
    ],
)
def test_text_without_secrets_is_kept(text: str) -> None:
    assert redact(text) == text


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


# Redaction takes linear time, also for texts that an attacker chooses


def can_fail_after_unbounded_part(pattern: re.Pattern[str]) -> bool:
    """Return whether an attempt to match can read any number of characters and then fail.

    Such attempts can start at each character and read the rest of the text, in quadratic time.
    """
    seen = False
    for operator, argument in parts(re_parser.parse(pattern.pattern, pattern.flags)):
        least, most = re_parser.SubPattern(re_parser.State(), [(operator, argument)]).getwidth()
        if seen and least:
            return True
        if most >= UNBOUNDED:
            repeats = str(operator) in {"MAX_REPEAT", "POSSESSIVE_REPEAT"}
            if not repeats or argument[2].getwidth() != (1, 1):
                return True
            seen = True
    return False


def parts(pattern: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the parts that are matched one after the other. Groups are replaced by their parts."""
    for operator, argument in pattern:
        if str(operator) == "SUBPATTERN":
            yield from parts(argument[3])
        else:
            yield operator, argument


@pytest.mark.parametrize("pattern", [pattern for pattern, _ in REDACTIONS], ids=str)
def test_redaction_pattern_takes_linear_time(pattern: re.Pattern[str]) -> None:
    assert not can_fail_after_unbounded_part(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r"eyJ[\w-]*\.[\w-]+\.[\w-]*",
        r"(mongodb(?:\+srv)?://)[^\s\"'<>]*@",
        r"[\w.%+-]+@[\w-]+(?:\.[\w-]+)+",
        r"a(?:b+)+",
        r"a(?:b|c*)",
    ],
)
def test_pattern_that_takes_quadratic_time_is_detected(pattern: str) -> None:
    assert can_fail_after_unbounded_part(re.compile(pattern))


def test_text_that_only_starts_like_a_secret_is_kept() -> None:
    for text in (
        "mongodb://db.example.com " * 1000,
        "pi_3NxAbc-pi_3NxAbd " * 1000,
        "basic " * 1000,
        "a@" * 1000,
        "a" * 200_000,
    ):
        assert redact(text) == text


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


def test_wrong_level_or_file_raises_value_error(logged: Logged, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="root"):
        configure_logging(level="LOUD")
    broken = tmp_path / "logging.toml"
    broken.write_text("version =", encoding="utf-8")
    with pytest.raises(ValueError, match="Invalid value"):
        configure_logging(config_file=broken)
