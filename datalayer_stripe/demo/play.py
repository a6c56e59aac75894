"""Play the story and print each step as it ends."""

import time

from rich.text import Text

from ..errors import NoResponse, UnexpectedResult
from .client import DemoClient
from .deliveries import Echo
from .environment import DemoEnvironment
from .story import Story

WEBHOOK_TIMEOUT = 10.0
"""How long the story waits for a webhook and its effects, in seconds."""


async def play(
    environment: DemoEnvironment,
    echo: Echo,
    *,
    webhook_timeout: float = WEBHOOK_TIMEOUT,
) -> bool:
    """Play the story until its end or until a step fails.

    Args:
        environment: The running demo.
        echo: Called with each line to print.
        webhook_timeout: How long to wait for a webhook and its effects, in seconds.

    Returns:
        Whether all steps passed.
    """
    client = DemoClient(environment)
    started_at = time.monotonic()
    steps = Story(client, environment, webhook_timeout=webhook_timeout).steps()
    width = max(len(title) for title, _ in steps) + 2
    try:
        for number, (title, step) in enumerate(steps, start=1):
            try:
                result = await step()
            except (UnexpectedResult, NoResponse) as error:
                echo(_failure(title, error))
                echo(Text(f"\nStep {number} of {len(steps)} failed.", "red"))
                return False
            echo(Text.assemble(("✓", "green"), f" {title:<{width}}", (result, "dim")))
    finally:
        client.close()
    echo("")
    echo(f"All {len(steps)} steps passed in {time.monotonic() - started_at:.1f} s.")
    return True


def _failure(title: str, error: UnexpectedResult | NoResponse) -> Text:
    if isinstance(error, UnexpectedResult):
        expected, actual = error.expected, error.actual
    else:
        expected, actual = "a response", str(error)
    details = f" {title}\n    expected  {expected}\n    got       {actual}"
    return Text.assemble(("✗", "red"), details)
