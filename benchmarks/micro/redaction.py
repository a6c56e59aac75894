"""Check that redaction takes linear time on hostile text, and measure the usual line.

Eight times as much text may take about eight times as long.
"""

import logging
import sys
import time

from benchmarks.micro.environment import show
from datalayer_stripe.logs import JsonFormatter
from datalayer_stripe.redaction import REDACTIONS, redact

SMALL, LARGE = 16 * 1024, 128 * 1024
ROUNDS = 5
MAX_RATIO = 3.0
"""Maximum ratio of the time per character in the large text to the small one. 8 is quadratic."""

# A letter beyond ASCII, so that all patterns run on the texts of one word, too.
PREFIX = "\u00e9 "

USUAL = {
    "method": "POST",
    "path": "/api/iam/stripe/v1/webhook",
    "status": 200,
    "milliseconds": 4.1,
    "request_id": "87ae6717ddc14b1e808eabfffd1ad8bc",
    "event_id": "evt_1NxAbc",
    "account_uid": "alice",
    "type": "payment_intent.succeeded",
    "outcome": "processed",
}

HOSTILE = (
    "-eyJ",
    "eyJ.",
    "mongodb://",
    "mongodb://a@",
    "sk_",
    "ab_c-",
    "ab_c_secret_",
    "Bearer ",
    "basic a",
    "a@",
    "a@b.",
    "a",
    " ",
)


def time_per_character(text: str) -> float:
    """Return the minimum time per character over several runs, in nanoseconds."""
    runs = []
    for _ in range(ROUNDS):
        started_at = time.perf_counter()
        redact(text)
        runs.append(time.perf_counter() - started_at)
    return min(runs) / len(text) * 1e9


def measure_usual_line() -> None:
    """Measure a line of a delivery, and one in which a field needs the patterns."""
    formatter = JsonFormatter()
    times = []
    for account_uid in ("alice", "alice@example.com"):
        record = logging.makeLogRecord({"msg": "delivery", **USUAL, "account_uid": account_uid})
        started_at = time.perf_counter()
        for _ in range(3000):
            formatter.format(record)
        times.append((time.perf_counter() - started_at) / 3000 * 1e6)
    show("the usual line", times[0], times[1], "us", "with an e-mail address")


def measure() -> bool:
    """Measure each kind of text and return whether all take linear time."""
    is_linear = True
    for unit in HOSTILE:
        texts = [PREFIX + unit * (size // len(unit)) for size in (SMALL, LARGE)]
        small, large = map(time_per_character, texts)
        show(
            f"redacting {LARGE // 1024} KB of {unit!r}",
            large,
            small,
            "ns",
            "16 KB, per character",
        )
        is_linear &= large / small < MAX_RATIO
    return is_linear


if __name__ == "__main__":
    measure_usual_line()
    print(f"{len(REDACTIONS)} redaction patterns on hostile text")
    if not measure():
        sys.exit(f"Redaction is not linear: a ratio above exceeds {MAX_RATIO:g}.")
