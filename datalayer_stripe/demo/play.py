"""Play the story and print each step as it happens."""

import time
from collections.abc import Callable

import click

from .browser import Browser, NoAnswer
from .environment import DemoEnvironment
from .expectations import UnexpectedResult
from .story import Story

PATIENCE_SECONDS = 10.0


async def play(
    stage: DemoEnvironment, echo: Callable[[str], object], *, patience: float = PATIENCE_SECONDS
) -> bool:
    """Whether every step was as promised; the story ends at the first one that is not."""
    browser = Browser(stage)
    begun = time.monotonic()
    steps = Story(browser, stage, patience=patience).steps()
    width = max(len(title) for title, _ in steps) + 3
    try:
        for number, (title, step) in enumerate(steps, start=1):
            try:
                seen = await step()
            except (UnexpectedResult, NoAnswer) as error:
                echo(_failed(title, error))
                echo(click.style(f"\nNot as promised: step {number} of {len(steps)}.", fg="red"))
                return False
            echo(f"{click.style('✓', fg='green')} {title:<{width}}{click.style(seen, dim=True)}")
    finally:
        browser.close()
    echo(f"\nAs promised: {len(steps)} steps in {time.monotonic() - begun:.1f} s.")
    return True


def _failed(title: str, error: UnexpectedResult | NoAnswer) -> str:
    if isinstance(error, UnexpectedResult):
        expected, came = error.expected, error.came
    else:
        expected, came = "an answer", str(error)
    return f"{click.style('✗', fg='red')} {title}\n    expected  {expected}\n    came      {came}"
