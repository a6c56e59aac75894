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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .redaction import is_json_without_secrets, redact

_context: ContextVar[Mapping[str, str | int]] = ContextVar(
    "log_context", default=MappingProxyType({})
)

MAX_TEXT_CHARS = 16_384
"""The maximum length of a text in a log line. The middle of a longer text is left out."""

# Terminals and log viewers interpret control characters (those of ASCII and of Latin-1), line
# separators, and marks that change the text direction. `str.isprintable` is False for all of them.
_UNPRINTABLE = [
    *(code for code in range(0x20) if chr(code) not in "\n\t"),
    *range(0x7F, 0xA0),
    *(0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)),
]
_ESCAPES = {code: f"\\u{code:04x}" for code in _UNPRINTABLE}

# What a record has besides the fields of `extra=`.
_STANDARD_ATTRIBUTES = frozenset(logging.makeLogRecord({}).__dict__) | {
    "asctime",
    "message",
    "taskName",
}

_PLAIN_TYPES = frozenset({str, int, float, bool, type(None)})
_encode = jsonlib.JSONEncoder(ensure_ascii=False).encode


@contextmanager
def log_context(**values: str | int | None) -> Iterator[None]:
    """Add fields to every line that is logged in the `with` block.

    Args:
        **values: The fields. A field that is None is left out.
    """
    token = _context.set(_merged(values))
    try:
        yield
    finally:
        _context.reset(token)


def bind_log_context(**values: str | int | None) -> None:
    """Add fields to every line that the current task logs from now on.

    Args:
        **values: The fields. A field that is None is left out.
    """
    _context.set(_merged(values))


def _merged(values: Mapping[str, str | int | None]) -> dict[str, str | int]:
    return {**_context.get(), **{name: value for name, value in values.items() if value}}


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


class JsonFormatter(logging.Formatter):
    """Formatter for lines of JSON: `time` (UTC), `level`, `logger`, `message`, other fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line with all texts redacted, and all control characters escaped.

        JSON escapes only the characters below U+0020. All of these characters are in strings.
        """
        fields = self._fields(record)
        line = _usual_line(fields)
        if line is None:
            # The finished line is not redacted, because the texts in it are escaped: a pattern
            # could miss a secret after an escape sequence.
            line = _encode({name: _redacted(value) for name, value in fields.items()})
        return line if line.isprintable() else line.translate(_ESCAPES)

    def _fields(self, record: logging.LogRecord) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "time": _time_of(record).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exc_info"] = self.formatException(record.exc_info)
        elif record.exc_text:
            fields["exc_info"] = record.exc_text
        if record.stack_info:
            fields["stack_info"] = self.formatStack(record.stack_info)
        fields.update(_extra_of(record))
        fields.update(_context.get())
        return fields


def _usual_line(fields: dict[str, Any]) -> str | None:
    """Return the line of fields that need no redaction.

    Returns:
        None if the fields may need redaction, or are longer than a text may be.
    """
    for value in fields.values():
        if type(value) not in _PLAIN_TYPES:
            return None
    line = _encode(fields)
    return line if len(line) <= MAX_TEXT_CHARS and is_json_without_secrets(line) else None


def _extra_of(record: logging.LogRecord) -> dict[str, Any]:
    return {k: v for k, v in record.__dict__.items() if k not in _STANDARD_ATTRIBUTES}


class MessageFormatter(logging.Formatter):
    """Formatter for the message and the other fields as `key=value`.

    It is used where another formatter adds the time and the level.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the redacted message, fields and traceback."""
        values = {**_extra_of(record), **_context.get()}
        fields = " ".join(f"{k}={_quoted(v)}" for k, v in values.items())
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
        _leave_out_unused_facts()
    logging.config.dictConfig(config)


def _leave_out_unused_facts() -> None:
    """Create records without thread and process, which the formatters of this module do not use.

    https://docs.python.org/3/howto/logging.html#optimization
    """
    logging.logThreads = False
    logging.logProcesses = False
    logging.logMultiprocessing = False
