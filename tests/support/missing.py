"""What a test does if a program that it needs is not on this machine."""

import os
from typing import NoReturn

import pytest


def is_ci() -> bool:
    """Return whether the tests run in continuous integration, where no program may be missing."""
    return os.environ.get("CI") == "true"


def skip_or_fail(reason: str) -> NoReturn:
    """Skip the test. In continuous integration, fail it.

    Args:
        reason: What is missing, and how to install it.
    """
    if is_ci():
        pytest.fail(reason)
    pytest.skip(reason)  # a program is missing, which only continuous integration always has
