"""Structured logs without secrets: one line of JSON per entry, or text on a terminal.

    configure_logging(level="INFO")
    with log_context(request_id="req-1"):
        logger.info("credited", extra={"credits": 50})

The formatters add the fields of :func:`log_context` and of `extra=`, and redact all texts,
including tracebacks.
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
"""The maximum length of a text in a log line. The middle of a longer text is left out."""

Replacement = str | Callable[[re.Match[str]], str]


def _redact_mongodb_url(match: re.Match[str]) -> str:
    # A password may contain an unescaped @, so the credentials end at the last one.
    _, at, host = match["rest"].rpartition("@")
    return f"{match['scheme']}{REDACTED}@{host}" if at else match[0]


def _redact_client_secret(match: re.Match[str]) -> str:
    before, marker, after = match["id"].partition("_secret_")
    return REDACTED if before and marker and after else match[0]


def _redact_email(match: re.Match[str]) -> str:
    name, at, domain = match[0].strip("@.").partition("@")
    return REDACTED if name and at and "." in domain else match[0]


# A secret may start at the start of a word, or after an escape sequence such as the \n of a repr.
_START = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))"
# Attackers choose some of the texts, so redaction must take linear time. Each pattern begins with
# parts of a bounded length, and cannot fail after its first unbounded part. So an attempt to match
# either fails within a few characters or consumes all characters that it has read. If a pattern
# cannot decide, a function decides about the matched text.
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
    # Base64 of JSON, such as a JWT. It may be truncated.
    (re.compile(_START + r"eyJ[\w.-]+"), REDACTED),
    (re.compile(r"\b(Bearer)\s{1,16}[\w.~+/=-]+"), rf"\1 {REDACTED}"),
    # Stripe accepts a secret key as the user name of basic authentication. A short word after
    # `bearer` or `basic` is prose, such as "a basic plan".
    (re.compile(r"\b(bearer|basic)\s{1,16}[\w.~+/=-]{16,}", re.IGNORECASE), rf"\1 {REDACTED}"),
    (re.compile(r"[\w.%+@-]+"), _redact_email),
)

# Terminals and log viewers interpret control characters (also those of Latin-1, C1), line
# separators, and marks that change the text direction.
_UNPRINTABLE = [
    *(code for code in range(0x20) if chr(code) not in "\n\t"),
    *range(0x7F, 0xA0),
    *(0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)),
]
_ESCAPES = {code: f"\\u{code:04x}" for code in _UNPRINTABLE}


@contextmanager
def log_context(**values: str | None) -> Iterator[None]:
    """Add fields to every line that is logged in the `with` block.

    Args:
        **values: The fields. A field that is None is left out.
    """
    token = _context.set(_merged(values))
    try:
        yield
    finally:
        _context.reset(token)


def bind_log_context(**values: str | None) -> None:
    """Add fields to every line that the current task logs from now on.

    Args:
        **values: The fields. A field that is None is left out.
    """
    _context.set(_merged(values))


def _merged(values: Mapping[str, str | None]) -> dict[str, str]:
    return {**_context.get(), **{name: value for name, value in values.items() if value}}


def redact(text: str) -> str:
    """Return `text` without secrets and personal data.

    Stripe keys, client secrets, tokens, e-mail addresses and MongoDB credentials are replaced.
    """
    for pattern, replacement in REDACTIONS:
        text = pattern.sub(replacement, text)
    return text


def shortened(text: str, limit: int = MAX_TEXT_CHARS) -> str:
    """Return `text` without its middle if it is longer than `limit` characters.

    The end is kept too, because the last line of a traceback names the error.
    """
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]} [{len(text) - 2 * half} characters left out] {text[-half:]}"


def _bounded(text: str) -> str:
    # Redact first: no pattern would match half of a secret.
    return shortened(redact(text))


class JsonFormatter(BaseJsonFormatter):
    """Formatter for lines of JSON: `time` (UTC), `level`, `logger`, `message`, other fields."""

    def __init__(self) -> None:
        super().__init__(
            ["levelname", "name", "message"],
            rename_fields={"levelname": "level", "name": "logger"},
            json_ensure_ascii=False,
        )

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Add the log context, and redact each text.

        The finished line is not redacted, because the texts in it are escaped: a pattern could
        miss a secret after an escape sequence.
        """
        return {name: _redacted(value) for name, value in {**log_data, **_context.get()}.items()}

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        """Return the line with all control characters escaped.

        JSON escapes only the characters below U+0020. All of these characters are in strings.
        """
        return super().jsonify_log_record(log_data).translate(_ESCAPES)

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """Add the time as the first field."""
        log_data["time"] = _time_of(record).isoformat(timespec="milliseconds")
        super().add_fields(log_data, record, message_dict)


class MessageFormatter(logging.Formatter):
    """Formatter for the message and the other fields as `key=value`.

    It is used where another formatter adds the time and the level.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the redacted message, fields and traceback."""
        extra = {k: v for k, v in record.__dict__.items() if k not in RESERVED_ATTRS}
        fields = " ".join(f"{k}={_quoted(v)}" for k, v in {**extra, **_context.get()}.items())
        text = f"{record.getMessage()} {fields}".rstrip()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        if record.stack_info:
            text += "\n" + self.formatStack(record.stack_info)
        return _bounded(text).translate(_ESCAPES)


class TextFormatter(MessageFormatter):
    """Formatter for terminals: time, level, logger, message, other fields as `key=value`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the redacted line and traceback."""
        head = f"{_time_of(record).astimezone():%H:%M:%S} {record.levelname:<8} {record.name}"
        return f"{head}  {super().format(record)}"


def _time_of(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, tz=UTC)


def _quoted(value: Any) -> str:
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
    """Return the logging configuration that is used without a file.

    `conf/logging.toml` has the same configuration.

    Args:
        level: The level of the root logger, in upper case.
        json: Whether to log lines of JSON, or else text.

    Returns:
        The argument of `logging.config.dictConfig`.
    """
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
            # Below WARNING, these loggers log bodies of requests and commands, or header values.
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
        level: The lowest level that is logged, such as `"DEBUG"`.
        json: Whether to log lines of JSON, or else text. None means JSON unless stderr is a
            terminal.
        config_file: A logging configuration in TOML, which is used instead of the other
            arguments. Format: https://docs.python.org/3/library/logging.config.html

    Raises:
        OSError: The file cannot be read.
        ValueError: The file or the level is not valid.
    """
    if config_file is not None:
        config = tomllib.loads(config_file.read_text(encoding="utf-8"))
    else:
        as_json = not sys.stderr.isatty() if json is None else json
        config = default_config(level=level.upper(), json=as_json)
    logging.config.dictConfig(config)
