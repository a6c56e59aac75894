"""What hostile text costs the log: redaction of eight times the text takes eight times as long.

make bench
"""

import sys
import time

from benchmarks.environment import show
from datalayer_stripe.logs import REDACTIONS, redact

SMALL, LARGE = 16 * 1024, 128 * 1024
ROUNDS = 5
MAX_RATIO = 3.0
"""Of the cost of a character in the large text to that in the small one; 8 is quadratic time."""

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


def nanoseconds(text: str) -> float:
    """The least time for one character, of several runs."""
    runs = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        redact(text)
        runs.append(time.perf_counter() - begun)
    return min(runs) / len(text) * 1e9


def measure() -> bool:
    """Show each kind of text; whether all of them are linear."""
    is_linear = True
    for unit in HOSTILE:
        small, large = (nanoseconds(unit * (size // len(unit))) for size in (SMALL, LARGE))
        show(
            f"redacting {LARGE // 1024} KB of {unit!r}",
            large,
            small,
            "ns",
            "of 16 KB, by character",
        )
        is_linear &= large / small < MAX_RATIO
    return is_linear


if __name__ == "__main__":
    print(f"{len(REDACTIONS)} patterns, by growing hostile text")
    if not measure():
        sys.exit(f"Redaction is not linear: a ratio above is more than {MAX_RATIO:g}.")
