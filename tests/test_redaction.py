"""What is redacted, in linear time, and that the fast path for usual texts changes nothing."""

import importlib
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from datalayer_stripe.configuration import _secrets_in
from datalayer_stripe.logs import JsonFormatter
from datalayer_stripe.redaction import REDACTED, REDACTIONS, protect_secrets, redact
from datalayer_stripe.settings import Settings

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"

# The standard library's parser of regular expressions, which is not public.
re_parser = importlib.import_module("re._parser")
UNBOUNDED = re_parser.MAXREPEAT


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


# The fast path


def by_all_patterns(text: str) -> str:
    for pattern, replacement in REDACTIONS:
        text = pattern.sub(replacement, text)
    return text


# Parts of secrets, what may stand around them, and letters that `re.IGNORECASE` treats as ASCII.
PARTS = [
    *SECRETS,
    *("sk_", "rk_", "whsec_", "_secret_", "pi_", "eyJ", "mongodb://", "mongodb+srv://", "@", "%40"),
    *("Bearer", "bearer ", "BASIC ", "ba\u017fic ", "BAS\u0130C ", "\u212a", "0123456789abcdef"),
    *(" ", "\n", "\t", "\x1c", "\\n", '"', "\\", "'", ".", "_", "-", "a", "Z9", "\u00e9", "\u2028"),
]
TEXTS = st.lists(st.sampled_from(PARTS) | st.text(max_size=5), max_size=8).map("".join)


@pytest.mark.parametrize("word", ["ba\u017fic", "BAS\u0130C", "bas\u0131c", "BA\u017f\u0130C"])
def test_word_with_other_letters_that_match_ascii_is_redacted(word: str) -> None:
    text = f"{word} 0123456789abcdef"
    assert redact(text) == by_all_patterns(text) != text


@settings(deadline=None)  # a busy machine is slow
@given(TEXTS)
def test_texts_without_a_mark_of_a_secret_are_redacted_as_by_all_patterns(text: str) -> None:
    assert redact(text) == by_all_patterns(text)


@settings(deadline=None)  # a busy machine is slow
@given(st.dictionaries(st.sampled_from(["one", "two", "three"]), TEXTS | st.integers() | st.none()))
def test_usual_line_is_redacted_as_by_all_patterns(fields: dict[str, Any]) -> None:
    record = logging.makeLogRecord({"msg": "usual", **fields})
    entry = json.loads(JsonFormatter().format(record))
    for name, value in fields.items():
        assert entry[name] == (by_all_patterns(value) if isinstance(value, str) else value)


# The secrets of this process


@pytest.mark.parametrize(
    "secret", ["correct horse", 'with"quote\\n', "tab\tand\x1c", "letter\u00e9\u2028"]
)
@pytest.mark.parametrize(
    "around", ["{}", "the secret is {}.", "a{}b", "{0}{0}", "sk_{}", "x{}@example.com"]
)
def test_secret_of_this_process_is_redacted_wherever_it_is(secret: str, around: str) -> None:
    protect_secrets([secret])
    text = around.format(secret)
    assert secret not in redact(text)
    assert REDACTED in redact(text)
    record = logging.makeLogRecord({"msg": "usual", "field": text})
    assert json.loads(JsonFormatter().format(record))["field"] == redact(text)


def test_other_secrets_around_a_secret_of_this_process_are_redacted() -> None:
    protect_secrets(["password", "pass word!"])
    for text in (
        "password@example.com",
        "jo.password@example.com",
        f"{JWT}password.more",
        "sk_password1",
    ):
        assert redact(text) == REDACTED
    assert redact("pass word!sk_live_1") == REDACTED * 2
    assert redact("mongodb://jo:password@host") == f"mongodb://{REDACTED}@host"


def test_longer_secret_is_redacted_before_its_part() -> None:
    protect_secrets(["first part", "first part and second"])
    assert redact("first part and second") == REDACTED


def test_short_secret_is_not_searched_for() -> None:
    protect_secrets(["", "delive"])
    assert redact("delivery") == "delivery"


def test_url_of_a_database_is_no_secret_but_its_password_is(settings: Settings) -> None:
    for url in ("memory://", "mongodb://service:p%40ssword1@db.example/"):
        own = settings.model_copy(update={"stripe_mongodb_url": SecretStr(url)})
        protect_secrets(_secrets_in([own]))
        assert redact("The database is memory://") == "The database is memory://"
    assert redact("p@ssword1, p%40ssword1") == f"{REDACTED}, {REDACTED}"
