"""Redact secrets and personal data in texts, in time that is linear in the text.

Most texts contain nothing to redact. A few substring tests prove this, so that the regular
expressions run on the other texts only.
"""

import json
import re
from collections.abc import Callable, Iterable

REDACTED = "[redacted]"

MIN_SECRET_CHARS = 8
"""Shorter secrets are not searched for, because they may be words of any text."""

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
# either fails within a few characters or consumes all characters that it has read. A pattern that
# also matches texts without a secret has a function, which checks the matched text.
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

# Replaces a secret of this process while the patterns run. If the secret is part of a longer one,
# such as a token or an address, their patterns match the mark as a part of it. The hyphens let a
# pattern start beside it.
_SECRET_MARK = "-secret-of-this-process-"  # noqa: S105 (it is none)

# The secrets of this process, the longest first, because one may contain another.
_secrets: tuple[str, ...] = ()
# The same secrets as JSON writes them.
_secrets_in_json: tuple[str, ...] = ()


def protect_secrets(secrets: Iterable[str]) -> None:
    """Redact exactly these secrets from now on, whatever they look like.

    They replace those of an earlier call: a process runs one service.

    Args:
        secrets: The secrets. Those of less than `MIN_SECRET_CHARS` characters are ignored.
    """
    global _secrets, _secrets_in_json  # noqa: PLW0603 (like the logging configuration)
    long = {secret for secret in secrets if len(secret) >= MIN_SECRET_CHARS}
    _secrets = tuple(sorted(long, key=len, reverse=True))
    _secrets_in_json = tuple(json.dumps(secret, ensure_ascii=False)[1:-1] for secret in _secrets)


def redact(text: str) -> str:
    """Return `text` without secrets and personal data.

    The secrets of this process, Stripe keys, client secrets, tokens, e-mail addresses and MongoDB
    credentials are replaced.
    """
    any_secret = False
    for secret in _secrets:
        if secret in text:
            text = text.replace(secret, _SECRET_MARK)
            any_secret = True
    if _may_match(text):
        for pattern, replacement in REDACTIONS:
            text = pattern.sub(replacement, text)
    return text.replace(_SECRET_MARK, REDACTED) if any_secret else text


def is_json_without_secrets(line: str) -> bool:
    """Return whether a line of JSON certainly contains nothing that :func:`redact` would replace.

    Args:
        line: JSON in which only the characters that JSON does not allow are escaped.

    Returns:
        False if a text in the line may contain something to redact.
    """
    # The marks of _may_match contain no character that JSON escapes.
    return not _may_match(line) and not any(secret in line for secret in _secrets_in_json)


def _may_match(text: str) -> bool:
    """Return False if no pattern can replace anything in the text.

    Each pattern of REDACTIONS replaces only texts with one of these marks. The case of other
    letters than those of ASCII is complicated: `basic` also matches `ba\u017fic`.
    """
    if not text.isascii() or "@" in text or "eyJ" in text:
        return True
    if "sk_" in text or "rk_" in text or "whsec_" in text or "_secret_" in text:
        return True
    lower = text.lower()
    return "bearer" in lower or "basic" in lower
