"""Check that redaction takes linear time on hostile text.

Eight times as much text may take about eight times as long.
"""

import sys
import time

from benchmarks.micro.environment import show
from datalayer_stripe.logs import REDACTIONS, redact

SMALL, LARGE = 16 * 1024, 128 * 1024
ROUNDS = 5
MAX_RATIO = 3.0
"""Maximum ratio of the time per character in the large text to the small one. 8 is quadratic."""

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


def measure() -> bool:
    """Measure each kind of text and return whether all take linear time."""
    is_linear = True
    for unit in HOSTILE:
        small, large = (time_per_character(unit * (size // len(unit))) for size in (SMALL, LARGE))
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
    print(f"{len(REDACTIONS)} redaction patterns on hostile text")
    if not measure():
        sys.exit(f"Redaction is not linear: a ratio above exceeds {MAX_RATIO:g}.")
