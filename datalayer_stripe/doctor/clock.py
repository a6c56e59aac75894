"""Check of this machine's clock."""

from collections.abc import Sequence

from .checks import Subject
from .context import CheckContext

SUBJECT = Subject("clock")

MAX_SKEW_SECONDS = 30.0
"""A greater difference is reported. A delivery is refused if its time differs by 300 s."""


@SUBJECT.error(
    "skew",
    "This machine's clock agrees with Stripe's.",
    advice="Synchronize the clock of this machine, for example with chrony or systemd-timesyncd: "
    "deliveries whose time differs by more than 300 s are refused.",
)
async def skew(context: CheckContext) -> Sequence[str]:
    theirs, ours = await context.account.server_time()
    # Stripe's time has no fraction of a second.
    seconds = (ours - theirs).total_seconds() - 0.5
    if abs(seconds) <= MAX_SKEW_SECONDS:
        return []
    direction = "ahead of" if seconds > 0 else "behind"
    return [f"This machine's clock is {abs(seconds):,.0f} s {direction} Stripe's."]
