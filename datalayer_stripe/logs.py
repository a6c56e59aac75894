"""Structured logs: one JSON line an entry, or plain text on a terminal, without secrets.

    configure_logging(level="INFO")
    with log_context(request_id="req-1"):
        logger.info("credited", extra={"credits": 50})

Both formatters add what :func:`log_context` bound and what `extra=` carries, and both redact the
finished text, tracebacks included.
"""

import json as jsonlib
import logging
import logging.config
import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter as BaseJsonFormatter

REDACTED = "[redacted]"

_context: ContextVar[Mapping[str, str]] = ContextVar("log_context", default=MappingProxyType({}))

MAX_TEXT_CHARS = 16_384
"""The longest text that one field of a log line holds; the middle of a longer one is left out."""

Replacement = str | Callable[[re.Match[str]], str]


def _redact_mongodb_url(match: re.Match[str]) -> str:
    # A password may hold a bare @, so the last one ends the user name and the password.
    _, at, host = match["rest"].rpartition("@")
    return f"{match['scheme']}{REDACTED}@{host}" if at else match[0]


def _redact_client_secret(match: re.Match[str]) -> str:
    before, marker, after = match["id"].partition("_secret_")
    return REDACTED if before and marker and after else match[0]


def _redact_email(match: re.Match[str]) -> str:
    name, at, domain = match[0].strip("@.").partition("@")
    return REDACTED if name and at and "." in domain else match[0]


# Where a value may start: not inside a word, but after an escape such as the \n of a repr.
_START = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))"
# The texts may be hostile, so the time has to stay linear. Each pattern begins with parts of a
# bounded length, and cannot fail after its first unbounded part. So an attempt either fails
# within a few characters or consumes all that it has read. Where more has to be known, a function
# decides on the text that was matched.
REDACTIONS: tuple[tuple[re.Pattern[str], Replacement], ...] = (
    (
        re.compile(r"(?P<scheme>mongodb(?:\+srv)?://)(?P<rest>[^\s\"<>]*)", re.IGNORECASE),
        _redact_mongodb_url,
    ),
    # https://docs.stripe.com/keys and https://docs.stripe.com/webhooks (signing secrets)
    (re.compile(_START + r"(?:sk|rk|whsec)_[A-Za-z0-9_+/=-]+"), REDACTED),
    # https://docs.stripe.com/api/payment_intents/object#payment_intent_object-client_secret
    (
        re.compile(r"(?:(?<!\w)|(?<=\\[nrt]))[a-z]{2,5}_(?P<id>[A-Za-z0-9][\w-]*)"),
        _redact_client_secret,
    ),
    # Base64 of JSON, such as a JWT, also when it is cut off.
    (re.compile(_START + r"eyJ[\w.-]+"), REDACTED),
    (re.compile(r"\b(Bearer)\s{1,16}[\w.~+/=-]+"), rf"\1 {REDACTED}"),
    # Stripe also takes a secret key as the user name of basic authentication. Short words after
    # these two are prose ("a basic plan").
    (re.compile(r"\b(bearer|basic)\s{1,16}[\w.~+/=-]{16,}", re.IGNORECASE), rf"\1 {REDACTED}"),
    (re.compile(r"[\w.%+@-]+"), _redact_email),
)

# Terminals and log viewers act on control characters, also on those of Latin-1 (C1), on line
# separators, and on marks that reverse the direction of writing.
_UNPRINTABLE = [
    *(code for code in range(0x20) if chr(code) not in "\n\t"),
    *range(0x7F, 0xA0),
    *(0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)),
]
_ESCAPES = {code: f"\\u{code:04x}" for code in _UNPRINTABLE}


@contextmanager
def log_context(**values: str | None) -> Iterator[None]:
    """Add these fields to every line logged within; None leaves a field out."""
    token = _context.set(_merged(values))
    try:
        yield
    finally:
        _context.reset(token)


def bind_log_context(**values: str | None) -> None:
    """Add these fields to every line of the current task, such as one request, from now on."""
    _context.set(_merged(values))


def _merged(values: Mapping[str, str | None]) -> dict[str, str]:
    return {**_context.get(), **{name: value for name, value in values.items() if value}}


def redact(text: str) -> str:
    """Replace Stripe keys, client secrets, tokens, e-mail addresses and MongoDB credentials."""
    for pattern, replacement in REDACTIONS:
        text = pattern.sub(replacement, text)
    return text


def shortened(text: str, limit: int = MAX_TEXT_CHARS) -> str:
    """Return `text` without its middle where it is longer than `limit` characters.

    Both ends are kept: a traceback's last line is the one that names the error.
    """
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]} [{len(text) - 2 * half} characters left out] {text[-half:]}"


def _bounded(text: str) -> str:
    # The cut comes last: it could leave half of a secret, which no pattern knows.
    return shortened(redact(text))


class JsonFormatter(BaseJsonFormatter):
    """One line of JSON: `time` (UTC), `level`, `logger`, `message`, then the other fields."""

    def __init__(self) -> None:
        super().__init__(
            ["levelname", "name", "message"],
            rename_fields={"levelname": "level", "name": "logger"},
            json_ensure_ascii=False,
        )

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Add the context, and redact each text.

        Not the finished line: there a secret may follow an escape, or be cut inside one.
        """
        return {name: _redacted(value) for name, value in {**log_data, **_context.get()}.items()}

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        """Return the line as ASCII where a character is not to be printed as it is.

        JSON itself escapes the characters below U+0020 only. All of these are inside strings.
        """
        return super().jsonify_log_record(log_data).translate(_ESCAPES)

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """Put the time first."""
        log_data["time"] = _time_of(record).isoformat(timespec="milliseconds")
        super().add_fields(log_data, record, message_dict)


class MessageFormatter(logging.Formatter):
    """The message and the other fields as `key=value`; time and level are somebody else's part."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the message and its traceback, without secrets."""
        extra = {k: v for k, v in record.__dict__.items() if k not in RESERVED_ATTRS}
        fields = " ".join(f"{k}={_shown(v)}" for k, v in {**extra, **_context.get()}.items())
        text = f"{record.getMessage()} {fields}".rstrip()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        if record.stack_info:
            text += "\n" + self.formatStack(record.stack_info)
        return _bounded(text).translate(_ESCAPES)


class TextFormatter(MessageFormatter):
    """A line for people: time, level, logger, message, and the other fields as `key=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line and its traceback, without secrets."""
        head = f"{_time_of(record).astimezone():%H:%M:%S} {record.levelname:<8} {record.name}"
        return f"{head}  {super().format(record)}"


def _time_of(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, tz=UTC)


def _shown(value: Any) -> str:
    text = str(value)
    return text if re.fullmatch(r"[^\s\"'=]+", text) else jsonlib.dumps(text, ensure_ascii=False)


def _redacted(value: Any) -> Any:
    match value:
        case None | bool() | int() | float():
            return value
        case dict():
            return {_bounded(str(key)): _redacted(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_redacted(item) for item in value]
        case _:
            return _bounded(str(value))


def default_config(*, level: str, json: bool) -> dict[str, Any]:
    """Return the `logging.config.dictConfig` used without a file; conf/logging.toml is the same."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {"()": "datalayer_stripe.logs.JsonFormatter"},
            "text": {"()": "datalayer_stripe.logs.TextFormatter"},
        },
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stderr",
                "formatter": "json" if json else "text",
            }
        },
        "root": {"level": level, "handlers": ["stderr"]},
        "loggers": {
            # Below WARNING these write the bodies of requests and commands, or header values.
            "stripe": {"level": "WARNING"},
            "pymongo": {"level": "WARNING"},
            "tornado.general": {"level": "WARNING"},
        },
    }


def configure_logging(
    *, level: str = "INFO", json: bool | None = None, config_file: Path | None = None
) -> None:
    """Set up logging to stderr.

    Args:
        level: the least level to log, such as `"DEBUG"`.
        json: JSON lines or text; None is JSON unless stderr is a terminal.
        config_file: a `logging.config.dictConfig` in TOML, which then decides everything.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file or the level is not valid.

    Source: https://docs.python.org/3/library/logging.config.html
    """
    if config_file is not None:
        config = tomllib.loads(config_file.read_text(encoding="utf-8"))
    else:
        as_json = not sys.stderr.isatty() if json is None else json
        config = default_config(level=level.upper(), json=as_json)
    logging.config.dictConfig(config)
